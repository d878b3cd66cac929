"""Reads files of mounted images: for bench/formats.py and, in a virtual machine, guest/formats.py.

It only needs the modules that an initramfs with the agent has.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence

PIECE = 4096


def below(root: str) -> Iterator[tuple[str, int]]:
    """Path and size of each regular file that is not empty."""
    for directory, _names, files in os.walk(f"{root}/."):
        for name in files:
            path = f"{directory}/{name}"
            status = os.lstat(path)
            if status.st_mode & 0o170000 == 0o100000 and status.st_size:
                yield path, status.st_size


def read_into_cache(images: Sequence[str]) -> None:
    """Read the image files, so that no disk is waited for."""
    for image in images:
        with open(image, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass


def read_all(files: Sequence[tuple[str, int]]) -> tuple[int, int]:
    """Bytes and nanoseconds."""
    total, begun = 0, time.perf_counter_ns()
    for path, _ in files:
        fd = os.open(path, os.O_RDONLY)
        while piece := os.read(fd, 1 << 17):
            total += len(piece)
        os.close(fd)
    return total, time.perf_counter_ns() - begun


def read_scattered(files: Sequence[tuple[str, int]], reads: int) -> float:
    """ns for each read: open, read, close. A file is as likely as it is large."""
    choose = random.Random(7)
    picked = choose.choices(files, weights=[size for _, size in files], k=reads)
    places = [(path, choose.randrange(-(-size // PIECE)) * PIECE) for path, size in picked]
    begun = time.perf_counter_ns()
    for path, offset in places:
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(fd, PIECE, offset)
        os.close(fd)
    return (time.perf_counter_ns() - begun) / reads
