"""Writes an index: an EROFS of a merged namespace whose files lie in the packages' images.

docs/formats.md, "The index", describes the image. The same namespace over the same devices is the
same bytes on any machine: nothing but the two goes into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO

from bootunion.contents import DIRECTORY, FILE, SYMLINK

from .. import reproducible
from . import disk, layout
from .devices import Device
from .layout import Layout, Paths, Record


def write(out: IO[bytes], paths: Paths, devices: Sequence[Device]) -> None:
    """Write the index of `paths` (path → position of its layer, entry) over `devices` to `out`.

    `devices` are the layers' images in the list's order. Raises KeyError for a file that its
    package's image does not have.
    """
    plan = layout.place(paths)
    head = disk.SUPERBLOCK_AT + disk.SUPERBLOCK.size + disk.DEVICE.size * len(devices)
    meta = -(-head // disk.BLOCK)
    first_data = meta + plan.meta_blocks
    out.write(bytes(disk.SUPERBLOCK_AT))
    out.write(
        disk.superblock(
            root=plan.nid[""], inodes=len(plan.records), time=reproducible.EPOCH,
            blocks=first_data + plan.data_blocks, meta=meta, devices=len(devices),
        )
    )  # fmt: skip
    out.write(b"".join([disk.device_slot(device.blocks) for device in devices]))
    out.write(bytes(-head % disk.BLOCK))
    data = []
    at = 0
    for number, record in enumerate(plan.records):
        place = plan.nid[record.path] * disk.SLOT
        own = list(_own_data(record, paths, plan))
        encoded = _encode(record, number + 1, paths, first_data)
        inline = b"".join(own[record.blocks :])
        if paths[record.path][1].type == FILE:
            inline = _chunks(record, paths, devices)
            encoded += bytes(-len(encoded) % 8)
        out.write(bytes(place - at) + encoded + inline)
        at = place + len(encoded) + len(inline)
        data += [block + bytes(-len(block) % disk.BLOCK) for block in own[: record.blocks]]
    out.write(bytes(plan.meta_blocks * disk.BLOCK - at))
    for block in data:
        out.write(block)


def _encode(record: Record, number: int, paths: Paths, first_data: int) -> bytes:
    """The inode with its attributes."""
    entry = paths[record.path][1]
    kind = disk.FLAT_PLAIN
    union = 0
    if entry.type == FILE and entry.size:
        kind, union = disk.CHUNK_BASED, disk.chunk_format(entry.size)
    elif entry.type in (DIRECTORY, SYMLINK):
        kind = disk.FLAT_INLINE if record.inline else disk.FLAT_PLAIN
        union = first_data + record.first_block if record.blocks else 0
    elif entry.type != FILE:
        union = disk.device_number(*entry.device)
    return disk.Inode(
        kind, disk.MODES[entry.type] | entry.mode, record.size, union, number, entry.uid,
        entry.gid, entry.mtime, record.links, record.xattrs,
    ).encode()  # fmt: skip


def _chunks(record: Record, paths: Paths, devices: Sequence[Device]) -> bytes:
    layer, entry = paths[record.path]
    if not entry.size:
        return b""
    return disk.chunks(entry.size, layer + 1, devices[layer].first[record.path])


def _own_data(record: Record, paths: Paths, plan: Layout) -> Iterator[bytes]:
    """The blocks of a directory or of a symlink's target; the last one may be shorter."""
    entry = paths[record.path][1]
    if entry.type == SYMLINK:
        target = layout.encoded(entry.target)
        for start in range(0, len(target), disk.BLOCK):
            yield target[start : start + disk.BLOCK]
    start = 0
    for count in record.counts:
        yield disk.directory_block(
            [
                disk.Name(name, plan.nid[path], paths[path][1].type)
                for name, path in record.children[start : start + count]
            ]
        )
        start += count
