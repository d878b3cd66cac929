"""Where each inode of an index lies: worked out before a byte is written.

An inode, its attributes and what follows them (the map of a file's chunks, a directory's last
block, a symlink's target) are one record. A record never crosses a block's end, as the kernel asks
of what lies inline; one larger than a block begins with a block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bootunion.contents import DIRECTORY, FILE, SYMLINK, Entry
from bootunion.merge import shown_xattrs

from . import disk

Paths = Mapping[str, tuple[int, Entry]]


class Record(NamedTuple):
    """One inode: its first path, what stands inline behind it and in blocks of the image's own.

    `first_block` counts from the first of the image's data blocks; `children` are a directory's
    sorted names with their paths, `counts` how many of them each of its blocks has.
    """

    path: str
    links: int
    xattrs: bytes
    inline: int
    blocks: int
    first_block: int
    children: tuple[tuple[bytes, str], ...] = ()
    counts: tuple[int, ...] = ()
    size: int = 0


class Layout(NamedTuple):
    """Records in the order of their places; `nid` is each path's inode number.

    `meta_blocks` and `data_blocks` are how many blocks the inodes and the image's own data take.
    """

    records: list[Record]
    nid: dict[str, int]
    meta_blocks: int
    data_blocks: int


def place(paths: Paths) -> Layout:
    """Give each path of a merged namespace its inode's place, in the order of the paths."""
    children = _children(paths)
    first_name, links = _links(paths)
    records: list[Record] = []
    nid: dict[str, int] = {}
    at, data = disk.SLOT, 0  # an inode numbered 0 is none to readdir(3) and its users
    for path in sorted(paths):
        if path in first_name:
            continue  # it has another name's inode
        record = _record(path, paths, children, links, data)
        size = disk.EXTENDED.size + len(record.xattrs)
        if paths[path][1].type == FILE:
            size += -size % 8
        size += record.inline
        if at % disk.BLOCK + min(size, disk.BLOCK) > disk.BLOCK:
            at += -at % disk.BLOCK
        nid[path] = at // disk.SLOT
        records.append(record)
        at += size + -size % disk.SLOT
        data += record.blocks
    for path, first in first_name.items():
        nid[path] = nid[first]
    return Layout(records, nid, -(-at // disk.BLOCK), data)


def encoded(name: str) -> bytes:
    """A name or target as the file system holds it."""
    return name.encode("utf-8", "surrogateescape")


def _children(paths: Paths) -> dict[str, list[tuple[bytes, str]]]:
    found: dict[str, list[tuple[bytes, str]]] = {
        path: [] for path, (_, entry) in paths.items() if entry.type == DIRECTORY
    }
    for path in paths:
        if path:
            directory, _, name = path.rpartition("/")
            found[directory].append((encoded(name), path))
    return found


def _links(paths: Paths) -> tuple[dict[str, str], dict[str, int]]:
    """Names that share another name's inode → that name; how many names a shared inode has."""
    groups: dict[tuple[int, str], list[str]] = {}
    for path, (layer, entry) in paths.items():
        if entry.hard_link:
            groups.setdefault((layer, entry.hard_link), []).append(path)
    first_name, links = {}, {}
    for (layer, target), names in groups.items():
        there = paths.get(target)
        # The first name may be another package's, or nobody's, in the union.
        if there is not None and there[0] == layer and there[1].type == FILE:
            names.append(target)
        first, *others = sorted(names)
        links[first] = len(names)
        first_name.update(dict.fromkeys(others, first))
    return first_name, links


def _record(
    path: str, paths: Paths, children: Mapping[str, Sequence[tuple[bytes, str]]],
    links: Mapping[str, int], data: int,
) -> Record:  # fmt: skip
    entry = paths[path][1]
    xattrs = disk.xattrs(shown_xattrs(entry))
    if entry.type == FILE:
        inline = 8 * disk.chunk_count(entry.size)
        return Record(path, links.get(path, 1), xattrs, inline, 0, 0, size=entry.size)
    if entry.type == SYMLINK:
        size = len(encoded(entry.target))
        inline, blocks = _tail(size, len(xattrs))
        return Record(path, 1, xattrs, inline, blocks, data, size=size)
    if entry.type != DIRECTORY:
        return Record(path, 1, xattrs, 0, 0, 0)
    parent = path.rpartition("/")[0]
    inside = children[path]
    names = sorted([(b".", path), (b"..", parent), *inside])
    subdirectories = sum(paths[child][1].type == DIRECTORY for _, child in inside)
    counts = disk.directory_blocks([name for name, _ in names])
    size = disk.directory_size([name for name, _ in names], counts)
    inline, blocks = _tail(size, len(xattrs))
    return Record(
        path, 2 + subdirectories, xattrs, inline, blocks, data, tuple(names), tuple(counts), size
    )


def _tail(size: int, xattrs: int) -> tuple[int, int]:
    """(bytes behind the inode, blocks of the image's own) of `size` bytes."""
    whole, tail = divmod(size, disk.BLOCK)
    if tail and disk.EXTENDED.size + xattrs + tail <= disk.BLOCK:
        return tail, whole
    return 0, whole + (tail > 0)
