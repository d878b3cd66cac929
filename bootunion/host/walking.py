"""Walks a mounted tree: every path as the kernel shows it, in the form of a package's contents."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from bootunion import contents
from bootunion.comparing import MOUNT, Unseen
from bootunion.contents import Entry

SOCKET = "socket"
"""A type that only a running system has: no package holds one."""

_TYPES = {
    stat.S_IFDIR: contents.DIRECTORY,
    stat.S_IFREG: contents.FILE,
    stat.S_IFLNK: contents.SYMLINK,
    stat.S_IFCHR: contents.CHARACTER,
    stat.S_IFBLK: contents.BLOCK,
    stat.S_IFIFO: contents.FIFO,
    stat.S_IFSOCK: SOCKET,
}
_XATTRS = ("security.", "user.", "trusted.", "system.posix_acl_")
_OVERLAY = "trusted.overlay."  # what overlayfs notes in its layers
_NO_XATTRS = (errno.EOPNOTSUPP, errno.ENOSYS)
_CHUNK = 1 << 18

# statx(2) and linux/stat.h; STATX_MNT_ID since Linux 5.8.
_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_NO_AUTOMOUNT = 0x800
_STATX_MNT_ID = 0x1000
_STATX_SIZE = 256
_STX_MNT_ID = 0x90  # offset in struct statx, 64 bits
_libc = ctypes.CDLL(None, use_errno=True)


def walk(
    root: Path | str, *, content: bool = True, overlay_xattrs: bool = False
) -> Iterator[Entry | Unseen]:
    """Everything at and below `root`, sorted by path (code points), as it is found.

    Paths are relative, "" is `root` itself. An entry has status, link target, device, attributes
    (security.*, user.*, trusted.*, access control lists; those of overlayfs itself only with
    `overlay_xattrs`: for a walk of an upper directory) and, with `content`, a file's SHA-256;
    `hard_link` stays "". What the kernel refuses to show, and each place where another file system
    is mounted, is an `Unseen` in the place of the path's entry; nothing below it follows. Never
    raises OSError.
    """
    return _Walk(os.fspath(root), content, overlay_xattrs).run()


def look(
    root: Path | str, paths: Iterable[str], *, content: bool = True
) -> Iterator[Entry | Unseen]:
    """The given paths at and below `root`, one by one, as `walk` shows them."""
    walk_of = _Walk(os.fspath(root), content, False)
    walk_of.look("")  # which mount it is
    for path in paths:
        yield walk_of.look(path)


class _Walk:
    def __init__(self, root: str, content: bool, overlay_xattrs: bool) -> None:
        self._root = root
        self._content = content
        self._overlay_xattrs = overlay_xattrs
        self._mount = 0

    def run(self) -> Iterator[Entry | Unseen]:
        # What is still to come, the next one last: a path, or with a slash at its end what is in
        # that directory. By these texts everything comes in its order: what is in "a" comes after
        # "a-b" and before "a0".
        waiting = [""]
        inside: dict[str, list[str]] = {}
        while waiting:
            path = waiting.pop()
            if path.endswith("/"):
                waiting.extend(inside.pop(path, ()))
                continue
            found = self.look(path)
            if isinstance(found, Entry) and found.type == contents.DIRECTORY:
                try:
                    names = self._names(path)
                except OSError as error:
                    yield _unseen(path, "directory", error)
                    continue
                if path:
                    inside[f"{path}/"] = names
                else:
                    waiting = names
            yield found

    def _names(self, path: str) -> list[str]:
        """What is in a directory, in the form and order of `run`'s `waiting`."""
        below = f"{path}/" if path else ""
        names = []
        with os.scandir(self._at(path)) as found:
            for one in found:
                names.append(below + one.name)
                if one.is_dir(follow_symlinks=False):
                    names.append(f"{below}{one.name}/")
        names.sort(reverse=True)
        return names

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def look(self, path: str) -> Entry | Unseen:
        """One path. What was tried last is what the kernel refused."""
        at = self._at(path)
        trying = "status"
        try:
            mount = _mount_id(at, follow=not path)
            if not path:
                self._mount = mount
            elif mount != self._mount:
                return Unseen(path, MOUNT)
            status = os.stat(at, follow_symlinks=not path)
            mode, kind = status.st_mode, _TYPES[stat.S_IFMT(status.st_mode)]
            target = digest = ""
            device = (0, 0)
            trying = "xattrs"
            xattrs = self._attributes(at, follow=not path)
            if kind == contents.SYMLINK:
                trying = "target"
                target = os.readlink(at)
            elif kind == contents.FILE and self._content:
                trying = "content"
                digest = _digest(at)
            elif kind in (contents.CHARACTER, contents.BLOCK):
                device = (os.major(status.st_rdev), os.minor(status.st_rdev))
        except OSError as error:
            return _unseen(path, trying, error)
        size = status.st_size if kind == contents.FILE else 0
        return Entry(
            path, kind, stat.S_IMODE(mode), status.st_uid, status.st_gid, int(status.st_mtime),
            size, digest, target, device, xattrs,
        )  # fmt: skip

    def _attributes(self, at: str, *, follow: bool) -> tuple[tuple[str, str], ...]:
        try:
            names = os.listxattr(at, follow_symlinks=follow)
        except OSError as error:
            if error.errno in _NO_XATTRS:
                return ()
            raise
        found = []
        for name in sorted(names):
            if not name.startswith(_XATTRS):
                continue
            if name.startswith(_OVERLAY) and not self._overlay_xattrs:
                continue
            found.append((name, os.getxattr(at, name, follow_symlinks=follow).hex()))
        return tuple(found)


def _unseen(path: str, reason: str, error: OSError) -> Unseen:
    return Unseen(path, reason, error.errno or 0, error.strerror or str(error))


def _digest(at: str) -> str:
    # What became a fifo since it was looked at must not hold us up.
    fd = os.open(at, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    state = hashlib.sha256()
    with open(fd, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def _mount_id(at: str, *, follow: bool) -> int:
    """The mount that a path lies on. A file's device number does not tell in an overlay."""
    found = ctypes.create_string_buffer(_STATX_SIZE)
    flags = _AT_NO_AUTOMOUNT | (0 if follow else _AT_SYMLINK_NOFOLLOW)
    name = os.fsencode(at)
    if _libc.statx(_AT_FDCWD, name, flags, _STATX_MNT_ID, found) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), at)
    return int(struct.unpack_from("Q", found, _STX_MNT_ID)[0])
