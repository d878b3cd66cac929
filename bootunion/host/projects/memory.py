"""What was prepared for a project, in one small file: valid while all it depends on is unchanged.

A file counts as unchanged when device, inode, size and both times are those of before: ctime cannot
be set back by whoever changes a file. The memory is the user's own and as good as the cache that it
lies in: one that belongs to somebody else is not believed.

A project whose files are another's to the byte needs what the other one needs: of one that depends
on nothing else in its directory there is a second file, by the digest of its files' content.
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
FILE = "bootunion.yaml"
FOUND = ("uv.lock", "pylock.toml", "requirements.txt")
"""What is looked for where there is no bootunion.yaml, or it names none, in this order."""

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


def candidates(top: Path) -> list[str]:
    """All files of `top` that decide what the project is, whether they are there or not."""
    return [str(top / name) for name in (FILE, *FOUND)]


def place_of_content(cache: Path, top: Path) -> Path:
    """The file that remembers projects whose files hold what those in `top` hold.

    Raises OSError for a file that cannot be read.
    """
    state = hashlib.sha256()
    for name in (FILE, *FOUND):
        try:
            with open(top / name, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
        except FileNotFoundError:
            digest = "-"
        state.update(f"{name} {digest}\n".encode())
    return cache / "projects" / f"content-{state.hexdigest()[:32]}.json"


def recall_content(cache: Path, top: Path, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """What was remembered of a project with the same files, as it is to be remembered of this one.

    None when there is none, or it is not valid any more.
    """
    try:
        here = stats(candidates(top))  # before they are read
        fields = read_own(place_of_content(cache, top), _MOST)
        if fields is None or fields["schema"] != SCHEMA or fields["directory"]:
            return None
        if not _fits(fields, environment):
            return None
        return {**fields, "directory": str(top), "depends": [*here, *fields["depends"]]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def recall(cache: Path, top: Path, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """What was remembered, or None when it is not valid any more."""
    fields = read_own(place(cache, top), _MOST)
    try:
        if fields is None or fields["schema"] != SCHEMA or fields["directory"] != str(top):
            return None
        return fields if _fits(fields, environment) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _fits(fields: dict[str, Any], environment: Mapping[str, str]) -> bool:
    if any(environment.get(name) != value for name, value in fields["variables"].items()):
        return False
    return unchanged(fields["depends"])


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
