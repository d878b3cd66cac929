"""Feeds squashfs-tools' sqfstar and makes what it writes the same everywhere.

sqfstar reads a tar from its standard input, so no root is needed and nothing is unpacked. What
was found about 4.5.1 (Debian 12), each held by a test in tests/test_squashfs.py:

- it leaves the tar's own "./" entry out: the root directory's mode comes from an option, and its
  owner is whoever runs it, whatever `-root-uid` says. So it runs as root of a user namespace of
  its own where it is not run by root (no right comes with that, only the number);
- `-root-time` does nothing, the root directory gets the time of day, and SOURCE_DATE_EPOCH only
  bounds that from above. So the inode table is left uncompressed (`-noI`, 0.2 % more bytes,
  nothing to unpack at mounting) and the time is set in the finished image;
- it cuts names after 256 bytes, device numbers after 12 and 20 bits, user ids after 32 bits
  and drops attributes outside user., trusted. and security., all with exit status 0, and it
  crashes on a hard link to a later name: `members` refuses these;
- of a symlink's target in a pax header it takes a leading "/", "./" or "../" off: `members` writes
  those in GNU tar's way;
- of two entries for a directory it keeps the first; one that comes after the directory's
  contents counts, too;
- looking for duplicate files is a race (`-no-duplicates`); without it the same bytes come out
  whatever the number of processors and the load of the machine.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO

from bootunion.errors import BootunionError

from . import reproducible, run

# Offsets in the superblock (kernel: fs/squashfs/squashfs_fs.h, struct squashfs_super_block).
_FLAGS, _ROOT_INODE, _INODE_TABLE = 24, 32, 64
_UNCOMPRESSED_INODES = 1
_DIRECTORY_TYPES = (1, 8)  # SQUASHFS_DIR_TYPE, SQUASHFS_LDIR_TYPE
_METADATA_SIZE = 8192
_TIME_IN_INODE = 8  # struct squashfs_base_inode: type, mode, uid, guid (16 bits each), mtime


def pack(image: Path, feed: Callable[[IO[bytes]], None], *, what: str, processors: int = 0) -> None:
    """Write `image` from the tar that `feed` writes to the file it is given.

    `processors` bounds sqfstar's threads (0: all). Raises BootunionError program-failed,
    program-missing or disk-full, and whatever `feed` raises.
    """
    argv = ["sqfstar", *reproducible.SQUASHFS_OPTIONS, "-quiet", "-no-progress", "-exit-on-error"]
    if processors:
        argv += ["-processors", str(processors)]
    argv.append(str(image))
    as_root = [] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--"]
    run.feed([*as_root, *argv], feed, what=what, program="sqfstar")
    set_root_time(image, reproducible.EPOCH)


def set_root_time(image: Path, when: int) -> None:
    """Set the root directory's time (seconds since 1970) in an image made with `-noI`.

    Raises BootunionError program-failed when the image is not of the expected form.
    """
    with image.open("r+b") as file:
        superblock = file.read(96)
        (flags,) = struct.unpack_from("<H", superblock, _FLAGS)
        (reference,) = struct.unpack_from("<Q", superblock, _ROOT_INODE)
        (table,) = struct.unpack_from("<Q", superblock, _INODE_TABLE)
        # A reference is the metadata block's place in the table and the byte in the block.
        block, byte = table + (reference >> 16), reference & 0xFFFF
        file.seek(_place(block, byte))
        (kind,) = struct.unpack("<H", file.read(2))
        if not flags & _UNCOMPRESSED_INODES or kind not in _DIRECTORY_TYPES:
            text = "sqfstar wrote an image whose root directory cannot be found"
            raise BootunionError("program-failed", text, subject=str(image))
        for index, value in enumerate(struct.pack("<I", when)):
            file.seek(_place(block, byte + _TIME_IN_INODE + index))
            file.write(bytes([value]))


def _place(block: int, byte: int) -> int:
    """Where a byte counted from a metadata block's start is; it may lie in the next block."""
    further, rest = divmod(byte, _METADATA_SIZE)
    # Each block has a header of two bytes before it.
    return block + further * (_METADATA_SIZE + 2) + 2 + rest
