"""Feeds erofs-utils' mkfs.erofs, 1.8 or newer (Debian 13; Debian 12's 1.5 cannot read a tar).

As with squashfs nothing is unpacked and no root is needed. What was found about 1.8.6 (Debian 13)
and 1.9.4 (unstable), each held by a test in tests/test_erofs.py:

- the root directory is taken from the tar's own "./" entry, with its mode, owner and time;
- with the options in `reproducible` both versions write the same bytes, whatever the number of
  threads; with `fragments` 1.8.6 writes the time of its run into the image, and at least one file
  of sudo's package with other bytes;
- a file's attributes have to fit in 32 KiB together: of more 1.8.6 makes an error of the disk and
  1.9.4 an image that the kernel takes for damaged (EUCLEAN). `members` refuses them.
"""

from __future__ import annotations

import functools
import struct
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from bootunion import package
from bootunion.errors import BootunionError

from . import reproducible, run

_SUPERBLOCK = 1024
_FEATURES = 80
_LZ4_0PADDING = 1
_COMPR_CFGS = 2
_ZSTD = 1 << 3  # Z_EROFS_COMPRESSION_ZSTD is 3
_NEEDED = (b"--tar=", b"--mkfs-time", b"--workers")


def pack(
    image: Path, feed: Callable[[IO[bytes]], None], *, what: str, how: Sequence[str],
    processors: int = 0,
) -> None:  # fmt: skip
    """Write `image` from the tar that `feed` writes to the file it is given.

    `how` is one of `reproducible`'s EROFS_LZ4, EROFS_ZSTD and EROFS_PLAIN; in the last, each file
    lies in whole blocks, one behind the other, as an index needs it. `processors` bounds
    mkfs.erofs's threads (0: all). Raises BootunionError program-failed, program-missing (also for
    one that cannot read a tar) or disk-full, and whatever `feed` raises.
    """
    argv = ["mkfs.erofs", "--tar=f", *reproducible.EROFS_OPTIONS, *how, "--quiet"]
    if processors:
        argv.append(f"--workers={processors}")
    argv.append(str(image))

    def with_root(pipe: IO[bytes]) -> None:
        pipe.write(_root_entry())
        feed(pipe)

    # What it keeps aside may be as large as the package: on the store's disk, not in /tmp.
    surroundings = {"TMPDIR": str(image.parent)}
    _require(run.require("mkfs.erofs"))
    run.feed(argv, with_root, what=what, env=surroundings)


@functools.cache
def _require(program: str) -> None:
    """Refuse a mkfs.erofs that does not know the options; a look at each process's first image."""
    said = run.run([program, "--help"], what="asking mkfs.erofs for its options").stdout
    if not all(option in said for option in _NEEDED):
        text = "this mkfs.erofs cannot read a tar; erofs-utils 1.8 (Debian 13) or newer can"
        raise BootunionError("program-missing", text, subject=program)


def _root_entry() -> bytes:
    root = tarfile.TarInfo("./")
    root.type, root.mode, root.mtime = tarfile.DIRTYPE, 0o755, reproducible.EPOCH
    return root.tobuf(tarfile.USTAR_FORMAT)


def made_as(image: Path) -> str:
    """The one of `package.IMAGE_FORMATS` that an EROFS image was made as.

    By feature_incompat and available_compr_algs of the superblock (fs/erofs/erofs_fs.h).
    """
    with image.open("rb") as file:
        file.seek(_SUPERBLOCK + _FEATURES)
        features, algorithms = struct.unpack("<IH", file.read(6))
    if features & _COMPR_CFGS and algorithms & _ZSTD:
        return package.EROFS_ZSTD
    return package.EROFS if features & _LZ4_0PADDING else package.EROFS_UNCOMPRESSED
