"""What was prepared for a project, in one small file: valid while all it depends on is unchanged.

A file counts as unchanged when device, inode, size and both times are those of before: ctime cannot
be set back by whoever changes a file. The memory is the user's own and as good as the cache that it
lies in: one that belongs to somebody else is not believed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bootunion.package import Image
from bootunion.systemlist import Layer

SCHEMA = 1
_MOST = 4 << 20

Stat = list[int] | None


def stat_of(path: str) -> Stat:
    """What is compared of a file; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def stats(paths: Iterable[str]) -> list[list[Any]]:
    """Each path with what is compared of it: to be taken before the files are read."""
    return [[path, stat_of(path)] for path in paths]


def place(cache: Path, top: Path) -> Path:
    """The file that remembers the project in directory `top`."""
    return cache / "projects" / f"{hashlib.sha256(os.fsencode(top)).hexdigest()[:32]}.json"


def recall(cache: Path, top: Path, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """What was remembered, or None when it is not valid any more."""
    fields = read_own(place(cache, top), _MOST)
    try:
        if fields is None or fields["schema"] != SCHEMA or fields["directory"] != str(top):
            return None
        if any(environment.get(name) != value for name, value in fields["variables"].items()):
            return None
        return fields if unchanged(fields["depends"]) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def unchanged(depends: Iterable[tuple[str, Stat]]) -> bool:
    """Whether files are what `stats` said of them."""
    return all(stat_of(path) == found for path, found in depends)


def read_own(path: Path, most: int) -> dict[str, Any] | None:
    """What a file of one's own holds in JSON, None for no file or one that is somebody else's."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return None
            fields: dict[str, Any] = json.loads(file.read(most))
    except (OSError, ValueError):
        return None
    return fields


def layer(fields: Mapping[str, Any]) -> Layer:
    """A layer from what `layer_fields` made of it."""
    return Layer(fields["name"], fields["version"], fields["architecture"], Image(*fields["image"]))


def layer_fields(one: Layer) -> dict[str, Any]:
    """A layer as it is remembered."""
    return {"name": one.name, "version": one.version, "architecture": one.architecture,
            "image": list(one.image)}  # fmt: skip
