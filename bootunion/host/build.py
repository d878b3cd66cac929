"""A directory becomes a package."""

from __future__ import annotations

import os
import stat
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from bootunion.errors import BootunionError

from . import reproducible
from .members import XATTR_PREFIX, Member

# What the file system a directory lies on adds is not meant. squashfs has no room for access
# control lists (system.posix_acl_*); `_mode` sees to it that leaving one out grants nothing.
_FOREIGN_XATTRS = ("security.selinux", "system.")
_ACL = "system.posix_acl_access"
_ACL_GROUP = 0x04  # linux/posix_acl.h: ACL_GROUP_OBJ


def members(
    directory: Path, *, keep_owner: bool = False, mtime: int | None = None
) -> Iterator[Member]:
    """The members of a directory, sorted by path.

    Everything belongs to root:root unless `keep_owner`; all times are `mtime` seconds since 1970
    (SOURCE_DATE_EPOCH, or `reproducible.EPOCH`). Raises BootunionError file-missing for no
    directory, member-invalid for a socket.
    """
    if not directory.is_dir():
        raise BootunionError("file-missing", "is not a directory", subject=str(directory))
    when = reproducible.source_date_epoch() if mtime is None else mtime
    first_names: dict[tuple[int, int], str] = {}
    try:
        paths = sorted(walk(directory))
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise BootunionError("file-missing", text, subject=str(error.filename)) from None
    for path in paths:
        yield _member(directory, path, first_names, when, keep_owner)


def walk(directory: Path, below: str = "") -> Iterator[str]:
    """Every path below a directory, relative to it, parents first."""
    with os.scandir(directory / below) as found:
        for one in found:
            name = f"{below}/{one.name}" if below else one.name
            yield name
            if one.is_dir(follow_symlinks=False):
                yield from walk(directory, name)


def _member(
    directory: Path, name: str, first_names: dict[tuple[int, int], str], when: int, owner: bool
) -> Member:
    path = directory / name
    status = path.lstat()
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = _mode(path, status), when
    if owner:
        info.uid, info.gid = status.st_uid, status.st_gid
    _set_type(info, path, status)
    identity = (status.st_dev, status.st_ino)
    if info.isreg() and status.st_nlink > 1 and identity in first_names:
        info.type, info.linkname = tarfile.LNKTYPE, first_names[identity]
        return info, None
    first_names[identity] = name
    xattrs: dict[str, str] = {}
    for key in sorted(os.listxattr(path, follow_symlinks=False)):
        if not key.startswith(_FOREIGN_XATTRS):
            value = os.getxattr(path, key, follow_symlinks=False)
            xattrs[XATTR_PREFIX + key] = value.decode("utf-8", "surrogateescape")
    info.pax_headers = xattrs
    if info.isreg():
        info.size = status.st_size
        return info, cast("IO[bytes]", _LazyFile(path))  # it has read()
    return info, None


def _mode(path: Path, status: os.stat_result) -> int:
    """The permission bits, without those that an access control list puts there.

    Beside a list the group's bits are its mask, which may allow more than the group has (acl(5)).
    """
    mode = stat.S_IMODE(status.st_mode)
    try:
        acl = os.getxattr(path, _ACL, follow_symlinks=False)
    except OSError:
        return mode  # none, or a file system or a symlink that has none
    # struct posix_acl_xattr_header and _entry: a version, then tag, permissions and id of each.
    for tag, permissions, _ in struct.iter_unpack("<HHI", acl[4:]):
        if tag == _ACL_GROUP:
            mode &= ~0o070 | permissions << 3
    return mode


def _set_type(info: tarfile.TarInfo, path: Path, status: os.stat_result) -> None:
    mode = status.st_mode
    if stat.S_ISLNK(mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
    elif stat.S_ISDIR(mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISFIFO(mode):
        info.type = tarfile.FIFOTYPE
    elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        info.type = tarfile.CHRTYPE if stat.S_ISCHR(mode) else tarfile.BLKTYPE
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    elif not stat.S_ISREG(mode):
        raise BootunionError("member-invalid", "is a socket", subject=str(path))


class _LazyFile:
    """Opens on the first read, so that a walk over many files holds one of them open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def read(self, size: int = -1) -> bytes:
        if self._file is None:
            try:
                fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError as error:
                text = f"cannot be read: {error.strerror}"
                raise BootunionError("file-missing", text, subject=str(self._path)) from None
            self._file = os.fdopen(fd, "rb")
        data = self._file.read(size)
        if not data:
            self._file.close()
        return data
