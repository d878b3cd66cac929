"""Where the files of a package lie in its image, which an index points into.

The image is an EROFS that mkfs.erofs made without compression and without inline data. It is read
after every block of it was checked against the root hash, through the same open file.
"""

from __future__ import annotations

import mmap
import stat
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bootunion import package, verity
from bootunion.errors import BootunionError
from bootunion.package import Image

from . import disk

_CHECKED_AT_ONCE = 1 << 20
_KNOWN = disk.CHUNKED_FILE | disk.DEVICE_TABLE


class Device(NamedTuple):
    """A package's image: its blocks (of 4,096 bytes), and the first block of each file's data.

    Each name of a regular file that is not empty is in `first`.
    """

    blocks: int
    first: Mapping[str, int]


def read(path: Path, image: Image, *, subject: str) -> Device:
    """The device of a package.

    Raises BootunionError root-hash-mismatch, index-impossible for an image that an index cannot
    point into, file-missing.
    """
    if image.format != package.EROFS:
        raise _impossible(f"is a {image.format}", subject)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
            _check(data, image, subject)
            return Device(image.data_blocks, dict(_files(data, image.hash_offset, subject)))
    except FileNotFoundError:
        raise BootunionError("file-missing", "is not in the store", subject=subject) from None
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise _impossible(f"is no EROFS that can be read ({error})", subject) from None


def _impossible(what: str, subject: str) -> BootunionError:
    return BootunionError("index-impossible", what, subject=subject)


def _check(data: mmap.mmap, image: Image, subject: str) -> None:
    end = image.hash_offset
    parts = (
        data[start : min(start + _CHECKED_AT_ONCE, end)]
        for start in range(0, end, _CHECKED_AT_ONCE)
    )
    tree = verity.build_tree(verity.blocks_of(parts), bytes.fromhex(image.salt))
    if tree.root_hash != image.root_hash:
        text = f"its blocks hash to {tree.root_hash[:16]}…, not {image.root_hash[:16]}…"
        raise BootunionError("root-hash-mismatch", text, subject=subject)


class _Found(NamedTuple):
    layout: int
    mode: int
    size: int
    union: int
    end: int  # of the inode and its attributes, where inline data begins


def _files(data: mmap.mmap, limit: int, subject: str) -> Iterator[tuple[str, int]]:
    """(path, first block) of each regular file that is not empty."""
    fields = disk.SUPERBLOCK.unpack_from(data, disk.SUPERBLOCK_AT)
    magic, bits, root, meta, features = (fields[at] for at in (0, 3, 5, 10, 14))
    if magic != disk.MAGIC or bits != disk.BLOCK_BITS:
        raise ValueError("no superblock of 4,096-byte blocks")
    if features & ~_KNOWN:
        raise _impossible("is compressed", subject)
    base = meta * disk.BLOCK
    waiting, seen = [("", root)], {root}
    while waiting:
        directory, nid = waiting.pop()
        for name, child in _names(data, _inode(data, base, nid)):
            path = f"{directory}/{name}" if directory else name
            found = _inode(data, base, child)
            if stat.S_ISDIR(found.mode):
                if child in seen:
                    raise ValueError("a directory has two names")
                seen.add(child)
                waiting.append((path, child))
            elif stat.S_ISREG(found.mode) and found.size:
                if found.layout != disk.FLAT_PLAIN:
                    raise _impossible(f"does not have /{path} in whole blocks", subject)
                if (found.union << disk.BLOCK_BITS) + found.size > limit:
                    raise ValueError(f"/{path} lies outside the image")
                yield path, found.union


def _inode(data: mmap.mmap, base: int, nid: int) -> _Found:
    at = base + nid * disk.SLOT
    (form,) = struct.unpack_from("<H", data, at)
    layout = form >> 1 & 7
    if form & 1:
        _, count, mode, _, size, union, *_ = disk.EXTENDED.unpack_from(data, at)
        end = at + disk.EXTENDED.size
    else:
        _, count, mode, _, size, _, union, *_ = disk.COMPACT.unpack_from(data, at)
        end = at + disk.COMPACT.size
    return _Found(layout, mode, size, union, end + (12 + 4 * (count - 1) if count else 0))


def _names(data: mmap.mmap, found: _Found) -> Iterator[tuple[str, int]]:
    """(name, inode number) of each entry of a directory but itself and its parent."""
    if found.size > len(data):
        raise ValueError("a directory larger than the image")
    if found.layout not in (disk.FLAT_PLAIN, disk.FLAT_INLINE):
        raise ValueError("a directory of an unknown layout")
    whole, tail = divmod(found.size, disk.BLOCK)
    first = found.union << disk.BLOCK_BITS
    places = [(first + number * disk.BLOCK, disk.BLOCK) for number in range(whole)]
    if tail:
        inline = found.layout == disk.FLAT_INLINE
        places.append((found.end if inline else first + whole * disk.BLOCK, tail))
    for start, size in places:
        block = data[start : start + size]
        (_, names_at, _) = disk.DIRENT.unpack_from(block)
        entries = [
            disk.DIRENT.unpack_from(block, at) for at in range(0, names_at, disk.DIRENT.size)
        ]
        ends = [*(at for _, at, _ in entries[1:]), size]
        for (nid, at, _), end in zip(entries, ends, strict=True):
            name = block[at:end].partition(b"\0")[0]
            if name not in (b".", b".."):
                yield name.decode("utf-8", "surrogateescape"), nid
