"""Comparing a tree that was walked with the namespace that it should be: pure.

merged = merge.merge(...)                                # what the packages say
walked = walking.walk("/mnt/root")                       # what the kernel shows
for one in comparing.compare(merged.paths, walked): ...  # nothing: they are the same
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from .contents import FILE, SYMLINK, Entry
from .merge import shown_xattrs

MISSING = "missing"  # expected, but not there
UNEXPECTED = "unexpected"  # there, but not expected
TYPE = "type"  # of another type: nothing else of it is compared
MODE = "mode"
OWNER = "owner"
SIZE = "size"  # the content is not compared then
TARGET = "target"
DEVICE = "device"
XATTRS = "xattrs"
CONTENT = "content"
UNREADABLE = "unreadable"  # the kernel refuses to show it; nothing below it is compared
DIFFERENCES = (
    MISSING, UNEXPECTED, TYPE, MODE, OWNER, SIZE, TARGET, DEVICE, XATTRS, CONTENT, UNREADABLE,
)  # fmt: skip
"""Everything that `Difference.what` can be."""

MOUNT = "mount"
"""`Unseen.reason` of a place that another file system is mounted on."""

# A security module makes this one up where it is not stored.
_LABEL = "security.selinux"


class Unseen(NamedTuple):
    """A path that a walk cannot say everything about, in the place of its entry.

    `reason` is what was tried: `MOUNT` (nothing: another mount covers the path and all below it),
    "status", "target", "xattrs", "content" or "directory" (what is in it). `errno` and `text` are
    the kernel's answer, 0 and "" for `MOUNT`.
    """

    path: str
    reason: str
    errno: int = 0
    text: str = ""


class Difference(NamedTuple):
    """One difference at `path` (relative, "" is the root): `what` is one of `DIFFERENCES`.

    `expected` and `found` are short texts: a mode in octal, "uid:gid", bytes, a symlink's target,
    "major:minor", "name=hex" of the attributes, a SHA-256, a type, the kernel's error; "" for
    nothing.
    """

    path: str
    what: str
    expected: str
    found: str


def compare(
    expected: Mapping[str, tuple[int, Entry]], walked: Iterable[Entry | Unseen]
) -> Iterator[Difference]:
    """The differences between a namespace's `paths` and a walked tree, sorted by path.

    `walked` is sorted by path and read once, as it comes. Content is compared where the walk has a
    digest. Modification times and hard links are not compared.
    """
    ahead = iter(walked)
    found = next(ahead, None)
    skipped = "\0"  # below this prefix nothing is compared; no path begins with a NUL
    for path in sorted(expected):
        while found is not None and found.path < path:
            yield from _unexpected(found)
            found = next(ahead, None)
        if found is not None and found.path == path:
            if isinstance(found, Unseen):
                skipped = f"{path}/" if path else ""
                yield from _unseen(found, expected[path][1])
            else:
                yield from differences(expected[path][1], found)
            found = next(ahead, None)
        elif not path.startswith(skipped):
            yield Difference(path, MISSING, expected[path][1].type, "")
    while found is not None:
        yield from _unexpected(found)
        found = next(ahead, None)


def _unexpected(found: Entry | Unseen) -> Iterator[Difference]:
    if isinstance(found, Entry):
        yield Difference(found.path, UNEXPECTED, "", found.type)
    elif found.reason != MOUNT and found.errno != errno.ENOENT:
        # ENOENT: a whiteout that hides nothing. Where a directory merges with no other, overlayfs
        # passes its names on unread, and then finds the whiteout (fs/overlayfs/readdir.c,
        # ovl_iterate; namei.c, ovl_lookup). Or it went while we walked: it is not there, at least.
        yield Difference(found.path, UNREADABLE, "", found.text)


def _unseen(found: Unseen, expected: Entry) -> Iterator[Difference]:
    if found.errno == errno.ENOENT:
        yield Difference(found.path, MISSING, expected.type, "")
    elif found.reason != MOUNT:
        yield Difference(found.path, UNREADABLE, expected.type, found.text)


def differences(expected: Entry, found: Entry) -> Iterator[Difference]:
    """How one path differs."""
    path = expected.path
    if expected.type != found.type:
        yield Difference(path, TYPE, expected.type, found.type)
        return
    # A symlink's mode means nothing on Linux.
    if expected.mode != found.mode and expected.type != SYMLINK:
        yield Difference(path, MODE, f"{expected.mode:04o}", f"{found.mode:04o}")
    if (expected.uid, expected.gid) != (found.uid, found.gid):
        yield Difference(path, OWNER, f"{expected.uid}:{expected.gid}", f"{found.uid}:{found.gid}")
    if expected.target != found.target:
        yield Difference(path, TARGET, expected.target, found.target)
    if expected.device != found.device:
        yield Difference(path, DEVICE, _pair(expected.device), _pair(found.device))
    wanted = shown_xattrs(expected)
    seen = found.xattrs
    if wanted != seen and not any(name == _LABEL for name, _ in wanted):
        seen = tuple(one for one in seen if one[0] != _LABEL)
    if wanted != seen:
        yield Difference(path, XATTRS, _attributes(wanted), _attributes(seen))
    if expected.type == FILE and expected.size != found.size:
        yield Difference(path, SIZE, str(expected.size), str(found.size))
    elif found.digest and expected.digest != found.digest:
        yield Difference(path, CONTENT, expected.digest, found.digest)


def _pair(device: tuple[int, int]) -> str:
    return f"{device[0]}:{device[1]}"


def _attributes(xattrs: tuple[tuple[str, str], ...]) -> str:
    return " ".join(f"{name}={value}" for name, value in xattrs)
