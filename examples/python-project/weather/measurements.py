"""Measurements: read from CSV, smoothed, packed."""

from __future__ import annotations

from pathlib import Path

import msgpack
import numpy as np
import yaml


def read(path: Path) -> np.ndarray:
    """Hours and degrees, a row for each measurement."""
    return np.loadtxt(path, delimiter=",", skiprows=1)


def smooth(degrees: np.ndarray, width: int) -> np.ndarray:
    """The running mean over `width` measurements."""
    return np.convolve(degrees, np.ones(width) / width, mode="valid")


def settings(path: Path) -> dict:
    """The station's settings."""
    return yaml.load(path.read_text(), Loader=yaml.CSafeLoader)


def pack(table: np.ndarray) -> bytes:
    """The measurements in a few bytes."""
    return msgpack.packb({"shape": table.shape, "data": table.astype("<f8").tobytes()})


def unpack(data: bytes) -> np.ndarray:
    """What `pack` packed."""
    found = msgpack.unpackb(data)
    return np.frombuffer(found["data"], "<f8").reshape(found["shape"])
