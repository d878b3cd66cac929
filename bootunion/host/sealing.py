"""Seals packages with fs-verity, where the store's file system has it.

A sealed file's digest stands in the signed list, and the kernel checks each read of it: the agent
then mounts the file itself, without a loop device and a dm-verity device (Linux 6.12).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
from collections.abc import Callable, Iterable

from bootunion import package, verity
from bootunion.errors import BootunionError
from bootunion.initrd import fsverity
from bootunion.values import NamedTuple

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from pathlib import Path

_ENABLE = 0x40806685  # FS_IOC_ENABLE_VERITY, _IOW('f', 133, struct fsverity_enable_arg)
# struct fsverity_enable_arg: version, algorithm, block size, salt size, salt, signature size and
# its padding, signature; 11 reserved words.
_ARGUMENT = struct.pack("=IIIIQIIQ88x", 1, fsverity.SHA256, verity.BLOCK_SIZE, 0, 0, 0, 0, 0)
# struct fsverity_descriptor: version, algorithm, log2 of the block size, salt size, signature size,
# bytes of data, root hash, salt; 144 reserved bytes.
_DESCRIPTOR = struct.Struct("<BBBBIQ64s32s144x")
# The file system has it not, or not switched on, or is mounted read-only; the kernel has it not.
_CANNOT = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EROFS, errno.EINVAL, errno.ETXTBSY)


def digest(chunks: Iterable[bytes], size: int) -> str:
    """The fs-verity digest (SHA-256, blocks of 4,096 bytes, no salt; hex) of `size` bytes.

    `chunks` are the file's bytes, not none. The tree is dm-verity's without the salt; the digest is
    that of a descriptor with its root (fs/verity/fsverity_private.h).
    """
    root = bytes.fromhex(verity.build_tree(verity.blocks_of(chunks), b"").root_hash)
    packed = _DESCRIPTOR.pack(1, fsverity.SHA256, 12, 0, 0, size, root, b"")
    return hashlib.sha256(packed).hexdigest()


def seal(path: str | os.PathLike[str]) -> bool:
    """Seal a file; False where its file system cannot, or somebody has it open for writing.

    A file that is sealed stays so, and can still be removed. Raises OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _ENABLE, _ARGUMENT)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        if error.errno != errno.EEXIST:
            raise
    finally:
        os.close(fd)
    return True


def sealed(path: str | os.PathLike[str]) -> str:
    """The digest of a file that is sealed, "" of one that is not. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return fsverity.measure(fd)
    finally:
        os.close(fd)


class Done(NamedTuple):
    """How many packages are sealed, and how many of them were not before."""

    sealed: int
    new: int


def sealable(packages: Path) -> list[Path]:
    """The images in a store's `packages/` that the kernel can mount as files."""
    return sorted(packages.glob(f"[!.]*.{package.EROFS}"))


def seal_all(images: Iterable[Path], step: Callable[[str], None]) -> Done:
    """Seal images; what is sealed already stays as it is.

    Raises BootunionError sealing-unsupported at the first that the file system cannot seal; those
    before it stay sealed.
    """
    count = new = 0
    for image in images:
        if not sealed(image):
            if not seal(image):
                text = "its file system has no fs-verity, or it is not switched on"
                raise BootunionError("sealing-unsupported", text, subject=image.name)
            new += 1
        count += 1
        step(image.name)
    return Done(count, new)
