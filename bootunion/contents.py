"""The contents of a package: one entry for each path, as JSON lines.

`plan` works from these alone, so an entry holds everything that decides what a path is in the
union: type, mode, owner, size, digest, link target, device number and extended attributes.

Paths are relative to the package's root, without a leading slash; the root directory itself is
"". Bytes that are not UTF-8 are kept by Python's surrogateescape, written as JSON escapes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .errors import BootunionError

DIRECTORY = "directory"
FILE = "file"
SYMLINK = "symlink"
CHARACTER = "character"
BLOCK = "block"
FIFO = "fifo"
TYPES = (DIRECTORY, FILE, SYMLINK, CHARACTER, BLOCK, FIFO)

WHITEOUT_DEVICE = 0
"""Overlayfs takes a character device 0:0 for a whiteout (Documentation/filesystems/overlayfs)."""


class Linking(NamedTuple):
    """What a file needs of others before it can be run or loaded, as the file itself says.

    `machine` is the ELF class and machine ("64-x86-64"; "" for a script, `LOADER_CACHE` for
    ld.so.cache), `interpreter` the path in PT_INTERP or behind `#!`, `needed` the sonames in
    DT_NEEDED, `soname` its own, `search` the directories of DT_RUNPATH or DT_RPATH with `$ORIGIN`
    as it stands; for the cache the directories that it has libraries of (elf(5), ld.so(8)).
    """

    machine: str = ""
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    soname: str = ""
    search: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The fields that are not empty."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in self._asdict().items()
            if value
        }


LOADER_CACHE = "ld.so.cache"


class Entry(NamedTuple):
    """One path of a package.

    `mode` has the permission bits with setuid, setgid and sticky (octal 7777), `size` is bytes (0
    for anything but a file), `digest` the SHA-256 of a file's bytes, `target` a symlink's text,
    `device` (major, minor) of a device node, `xattrs` names with values in hex, `hard_link` the
    path of the first name of the same inode ("" for the first or only one). `mtime` is seconds
    since 1970. `linking` is noted for ELF programs and libraries, scripts and ld.so.cache.
    """

    path: str
    type: str
    mode: int
    uid: int
    gid: int
    mtime: int = 0
    size: int = 0
    digest: str = ""
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, str], ...] = ()
    hard_link: str = ""
    linking: Linking | None = None

    @property
    def is_whiteout(self) -> bool:
        """Whether overlayfs would take this for "the path below is gone"."""
        return self.type == CHARACTER and self.device == (0, WHITEOUT_DEVICE)

    def as_json(self) -> dict[str, object]:
        """The entry as one JSON object; fields with their default value are left out."""
        full: dict[str, object] = {
            "path": self.path,
            "type": self.type,
            "mode": self.mode,
            "uid": self.uid,
            "gid": self.gid,
        }
        for key in ("mtime", "size", "digest", "target", "hard_link"):
            if getattr(self, key):
                full[key] = getattr(self, key)
        if self.type in (CHARACTER, BLOCK):
            full["device"] = list(self.device)
        if self.xattrs:
            full["xattrs"] = dict(self.xattrs)
        if self.linking is not None:
            full["linking"] = self.linking.as_json()
        return full


def encode(entries: Iterable[Entry]) -> bytes:
    """Entries as JSON lines, sorted by path (code points), one line each."""
    ordered = sorted(entries, key=lambda entry: entry.path)
    return b"".join(
        json.dumps(entry.as_json(), sort_keys=True, separators=(",", ":")).encode() + b"\n"
        for entry in ordered
    )


def decode(data: bytes, *, subject: str) -> Iterator[Entry]:
    """The entries of JSON lines.

    `data` must have been checked against the signed manifest's digest. Raises BootunionError
    contents-invalid when a line is not an entry or the paths are not sorted and unique.
    """
    before: str | None = None
    for number, line in enumerate(data.splitlines(), 1):
        try:
            entry = entry_of(json.loads(line.decode("utf-8")))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            text = f"line {number} is not an entry: {error}"
            raise BootunionError("contents-invalid", text, subject=subject) from None
        if before is not None and entry.path <= before:
            text = f"line {number} is out of order: {entry.path!r}"
            raise BootunionError("contents-invalid", text, subject=subject)
        before = entry.path
        yield entry


MAX_ID = (1 << 32) - 1
MAX_SIZE = (1 << 63) - 1
MAX_MODE = 0o7777


def entry_of(raw: dict[str, object]) -> Entry:
    """The entry of a decoded line. Raises ValueError, TypeError or KeyError when it is none."""
    fields = dict(raw)
    if "device" in fields:
        fields["device"] = tuple(fields["device"])  # type: ignore[arg-type]
    if "xattrs" in fields:
        fields["xattrs"] = tuple(sorted(fields["xattrs"].items()))  # type: ignore[attr-defined]
    if "linking" in fields:
        fields["linking"] = _linking(fields["linking"])
    entry = Entry(**fields)  # type: ignore[arg-type]
    _check_types(entry)
    if odd_path(entry.path):
        raise ValueError(f"path {entry.path!r}")
    if not entry.path and entry.type != DIRECTORY:
        raise ValueError("the root is no directory")
    return entry


def odd_path(path: str) -> bool:
    """Whether a path is not plain: has an empty part, "." or "..", or a NUL."""
    parts = path.split("/")
    return bool(path) and ("" in parts or "." in parts or ".." in parts or "\0" in path)


def _linking(raw: object) -> Linking:
    if type(raw) is not dict:
        raise TypeError(f"linking {raw!r}")
    lists = {key: raw[key] for key in ("needed", "search") if key in raw}
    if not all(type(value) is list for value in lists.values()):
        raise TypeError(f"linking {raw!r}")
    found = Linking(**{**raw, **{key: tuple(value) for key, value in lists.items()}})
    texts = (found.machine, found.interpreter, found.soname, *found.needed, *found.search)
    if not all(type(text) is str for text in texts):
        raise TypeError(f"linking {raw!r}")
    return found


def _check_types(entry: Entry) -> None:
    # One pass over plain comparisons: a system has hundreds of thousands of entries.
    if entry.type not in TYPES:
        raise ValueError(f"type {entry.type!r}")
    for text in (entry.path, entry.digest, entry.target, entry.hard_link):
        if type(text) is not str:
            raise TypeError(f"{text!r} is no text")
    for number, most in (
        (entry.mode, MAX_MODE), (entry.uid, MAX_ID), (entry.gid, MAX_ID),
        (entry.mtime, MAX_SIZE), (entry.size, MAX_SIZE),
    ):  # fmt: skip
        if type(number) is not int or not 0 <= number <= most:
            raise ValueError(f"{number!r} is no number from 0 to {most}")
    if len(entry.digest) not in (0, 64):
        raise ValueError(f"digest {entry.digest!r}")
    node = entry.type in (CHARACTER, BLOCK)
    if [type(number) for number in entry.device] != [int, int] or (any(entry.device) and not node):
        raise TypeError(f"device {entry.device!r}")
    if not all(type(text) is str for pair in entry.xattrs for text in pair):
        raise TypeError(f"xattrs {entry.xattrs!r}")
    if "\0" in entry.target or any("\0" in text for pair in entry.xattrs for text in pair):
        raise ValueError("a NUL, which no file system can hold")
