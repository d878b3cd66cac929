"""EROFS on the disk, as far as an index needs it (Linux, fs/erofs/erofs_fs.h; little endian)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bootunion.contents import BLOCK as BLOCK_DEVICE
from bootunion.contents import CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK

BLOCK_BITS = 12
BLOCK = 1 << BLOCK_BITS
SLOT = 32
"""Inodes lie at multiples of this, and are numbered by them."""

SUPERBLOCK_AT = 1024
MAGIC = 0xE0F5E1E2
_COMPAT_MTIME = 2  # an inode's time is that of its content
CHUNKED_FILE, DEVICE_TABLE = 4, 8  # feature_incompat

# magic, checksum, feature_compat, blkszbits, sb_extslots, root_nid, inos, build_time,
# build_time_nsec, blocks, meta_blkaddr, xattr_blkaddr, uuid, volume_name, feature_incompat,
# compression, extra_devices, devt_slotoff, dirblkbits, xattr prefixes (count, start), packed_nid.
SUPERBLOCK = struct.Struct("<3I BBH QQ II II 16s16s I HHH BBI Q 24x")
# tag, blocks, mapped_blkaddr
DEVICE = struct.Struct("<64s II 56x")
COMPACT = struct.Struct("<HHHH II I I HHI")
EXTENDED = struct.Struct("<HHHH Q II II QII 16x")
"""i_format, i_xattr_icount, i_mode, i_reserved, i_size, i_u, i_ino, i_uid, i_gid, i_mtime,
i_mtime_nsec, i_nlink."""

FLAT_PLAIN, FLAT_INLINE, CHUNK_BASED = 0, 2, 4
"""Data layouts: blocks in a row; the last, partial one behind the inode; a map of chunks."""

CHUNK_INDEXES = 0x20
CHUNK_BITS_MOST = 30
"""A chunk is a GiB at most: the kernel counts in an unsigned long, of 32 bits on some machines."""

_CHUNK = struct.Struct("<HHI")  # advise, device_id, blkaddr
DIRENT = struct.Struct("<QHBx")  # nid, nameoff, file_type
_XATTR_HEADER = struct.Struct("<IB7x")
_XATTR = struct.Struct("<BBH")
_PREFIXES = (("user.", 1), ("trusted.", 4), ("security.", 6))

MODES = {
    FILE: 0o100000, DIRECTORY: 0o040000, SYMLINK: 0o120000, CHARACTER: 0o020000,
    BLOCK_DEVICE: 0o060000, FIFO: 0o010000,
}  # fmt: skip
_FILE_TYPES = {FILE: 1, DIRECTORY: 2, CHARACTER: 3, BLOCK_DEVICE: 4, FIFO: 5, SYMLINK: 7}


class Name(NamedTuple):
    """A directory's entry: its name, its inode's number and its type (of `contents`)."""

    name: bytes
    nid: int
    type: str


def superblock(*, root: int, inodes: int, time: int, blocks: int, meta: int, devices: int) -> bytes:
    """The superblock; the devices' slots follow it at once. `blocks` counts the image's own."""
    slots = (SUPERBLOCK_AT + SUPERBLOCK.size) // DEVICE.size
    return SUPERBLOCK.pack(
        MAGIC, 0, _COMPAT_MTIME, BLOCK_BITS, 0, root, inodes, time, 0, blocks, meta, 0,
        bytes(16), bytes(16), CHUNKED_FILE | DEVICE_TABLE, 0, devices, slots, 0, 0, 0, 0,
    )  # fmt: skip


def device_slot(blocks: int) -> bytes:
    """A further device: no tag, and not mapped into the image's own block numbers."""
    return DEVICE.pack(b"", blocks, 0)


class Inode(NamedTuple):
    """What an inode says; `union` is a block number, a device number or a chunk format."""

    layout: int
    mode: int
    size: int
    union: int
    number: int
    uid: int
    gid: int
    mtime: int
    links: int
    xattrs: bytes = b""

    def encode(self) -> bytes:
        """The inode with its attributes."""
        count = (len(self.xattrs) - _XATTR_HEADER.size) // 4 + 1 if self.xattrs else 0
        return (
            EXTENDED.pack(
                self.layout << 1 | 1, count, self.mode, 0, self.size, self.union, self.number,
                self.uid, self.gid, self.mtime, 0, self.links,
            )
            + self.xattrs
        )  # fmt: skip


def device_number(major: int, minor: int) -> int:
    """new_encode_dev (linux/kdev_t.h)."""
    return (minor & 0xFF) | major << 8 | (minor & ~0xFF) << 12


def xattrs(shown: Iterable[tuple[str, str]]) -> bytes:
    """The attributes (names with values in hex) that stand behind an inode, none for none."""
    parts = []
    for name, value in shown:
        prefix, number = next(one for one in _PREFIXES if name.startswith(one[0]))
        rest = name.removeprefix(prefix).encode("utf-8", "surrogateescape")
        data = bytes.fromhex(value)
        entry = _XATTR.pack(len(rest), number, len(data)) + rest + data
        parts.append(entry + bytes(-len(entry) % 4))
    return _XATTR_HEADER.pack(0, 0) + b"".join(parts) if parts else b""


def chunk_bits(size: int) -> int:
    """The bits of the smallest chunk that holds a file of `size` bytes, as far as one may."""
    return min(max((size - 1).bit_length(), BLOCK_BITS), CHUNK_BITS_MOST)


def chunk_format(size: int) -> int:
    """i_u of a file of `size` bytes that has a map of chunks."""
    return CHUNK_INDEXES | chunk_bits(size) - BLOCK_BITS


def chunk_count(size: int) -> int:
    """How many chunks a file of `size` bytes has."""
    return -(-size >> chunk_bits(size)) if size else 0


def chunks(size: int, device: int, first: int) -> bytes:
    """The map of a file whose blocks lie in a row in a device (1: the first further one)."""
    step = 1 << chunk_bits(size) - BLOCK_BITS
    return b"".join(
        [_CHUNK.pack(0, device, first + number * step) for number in range(chunk_count(size))]
    )


def directory_blocks(names: Sequence[bytes]) -> list[int]:
    """How many of the sorted `names` go into each block of a directory."""
    counts, used = [0], 0
    for name in names:
        size = DIRENT.size + len(name)
        if used + size > BLOCK:
            counts.append(0)
            used = 0
        counts[-1] += 1
        used += size
    return counts


def directory_size(names: Sequence[bytes], counts: Sequence[int]) -> int:
    """Bytes of a directory: whole blocks, and what the last one needs."""
    last = names[len(names) - counts[-1] :]
    return (len(counts) - 1) * BLOCK + sum(DIRENT.size + len(name) for name in last)


def directory_block(names: Sequence[Name]) -> bytes:
    """One block of a directory, not padded: entries first, then their names."""
    at = DIRENT.size * len(names)
    entries = []
    for name, nid, kind in names:
        entries.append(DIRENT.pack(nid, at, _FILE_TYPES[kind]))
        at += len(name)
    return b"".join([*entries, *[one.name for one in names]])
