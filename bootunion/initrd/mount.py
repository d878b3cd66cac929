"""The kernel's mount interfaces: mount(2), umount2(2) and the fsopen family.

Constants are from linux/mount.h and linux/fcntl.h, in the headers' order. The system call numbers
are the same on every architecture that Debian builds for (numbers were unified before them).
Each function raises OSError with errno, the path, and what the kernel's fs-context log said.
"""

from __future__ import annotations

import os
import struct

from bootunion.native import (
    INT,
    SIZE,
    TEXT,
    UINT,
    ULONG,
    c_function,
    get_errno,
    set_errno,
    system_call,
)

from .scopes import suppress

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_REMOUNT = 32
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_REC = 1 << 14
MNT_DETACH = 2

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6
MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4
MOUNT_ATTR_NOEXEC = 8

_OPEN_TREE = 428
_MOVE_MOUNT = 429
_FSOPEN = 430
_FSCONFIG = 431
_FSMOUNT = 432
_MOUNT_SETATTR = 442
# pivot_root is older than the common numbers (asm/unistd.h of each architecture).
_PIVOT_ROOT = {"x86_64": 155, "i686": 217, "armv7l": 218, "ppc64le": 203, "s390x": 217}.get(
    os.uname().machine, 41
)

_mount = c_function("mount", TEXT, TEXT, TEXT, ULONG, TEXT)
_umount2 = c_function("umount2", TEXT, INT)
_open_tree = system_call(INT, TEXT, UINT)
_move_mount = system_call(INT, TEXT, INT, TEXT, UINT)
_mount_setattr = system_call(INT, TEXT, UINT, TEXT, SIZE)
_pivot_root = system_call(TEXT, TEXT)
_fsopen = system_call(TEXT, UINT)
_fsconfig = system_call(INT, UINT, TEXT, TEXT, INT)
_fsmount = system_call(INT, UINT, UINT)


def _check(result: int, path: str, log: str = "") -> int:
    if result < 0:
        number = get_errno()
        text = os.strerror(number)
        raise OSError(number, f"{text} ({log})" if log else text, path)
    return result


def mount(source: str, target: str, fstype: str, flags: int = 0, options: str = "") -> None:
    """mount(2). `options` must fit in one page with its NUL (4,095 bytes)."""
    data = options.encode() or None
    _check(_mount(source.encode(), target.encode(), fstype.encode(), flags, data), target)


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_umount2(target.encode(), flags), target)


# statvfs(3)'s flags of a mount that have to be said again when it is remounted, and mount(2)'s.
_KEPT_FLAGS = {os.ST_NOSUID: 2, os.ST_NODEV: 4, os.ST_NOEXEC: 8, os.ST_NOATIME: 1024,
               os.ST_NODIRATIME: 2048, os.ST_RELATIME: 1 << 21}  # fmt: skip


def remount(target: str, *, read_only: bool) -> None:
    """Make the file system mounted at `target` writable, or read-only again."""
    now = os.statvfs(target).f_flag
    flags = sum(flag for shown, flag in _KEPT_FLAGS.items() if now & shown)
    mount("", target, "", flags | MS_REMOUNT | (MS_RDONLY if read_only else 0))


def clone_tree(directory: int, name: str) -> int:
    """A detached clone of the mount at an open directory, rooted there (descriptor).

    `name` is for the error's text only.
    """
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH
    return _check(_open_tree(_OPEN_TREE, directory, b"", flags), name)


def clone_path(path: str, *, recursive: bool = False) -> int:
    """A detached clone of the mount at `path`, rooted there (descriptor).

    With `recursive` also of what is mounted below.
    """
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
    if recursive:
        flags |= AT_RECURSIVE
    return _check(_open_tree(_OPEN_TREE, AT_FDCWD, os.fsencode(path), flags), path)


def restrict(tree: int, attributes: int, name: str) -> None:
    """Set attributes (MOUNT_ATTR_…) of a detached mount; `name` is for the error's text only."""
    # struct mount_attr: attributes to set, to clear, propagation, user namespace; 64 bits each.
    wanted = struct.pack("<QQQQ", attributes, 0, 0, 0)
    result = _mount_setattr(_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, wanted, len(wanted))
    _check(result, name)


def attach(tree: int, target: str) -> None:
    """Put a detached mount at `target`."""
    flags = MOVE_MOUNT_F_EMPTY_PATH
    _check(_move_mount(_MOVE_MOUNT, tree, b"", AT_FDCWD, target.encode(), flags), target)


def attach_at(tree: int, place: int, name: str) -> None:
    """Put a detached mount at an open directory or file; `name` is for the error's text only."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    _check(_move_mount(_MOVE_MOUNT, tree, b"", place, b"", flags), name)


def pivot(root: str) -> None:
    """Make the mount at `root` the root of this mount namespace, and take the old one away.

    Stacking the old root on the new one and unmounting it needs no directory for it
    (pivot_root(2), "pivot_root(".", ".")").
    """
    os.chdir(root)
    _check(_pivot_root(_PIVOT_ROOT, b".", b"."), root)
    unmount(".", MNT_DETACH)
    os.chdir("/")


def move(source: str, target: str) -> None:
    """Move the mount at `source` to `target`. EINVAL when its parent mount is shared."""
    moved = _move_mount(_MOVE_MOUNT, AT_FDCWD, source.encode(), AT_FDCWD, target.encode(), 0)
    _check(moved, target)


def image(fstype: str, source: str) -> int:
    """A detached read-only mount of a file system on a device or in a file (descriptor).

    What a FileSystemContext would do, in one go: there may be hundreds.
    """
    context = _check(_fsopen(_FSOPEN, fstype.encode(), FSOPEN_CLOEXEC), fstype)
    try:
        if (
            _fsconfig(_FSCONFIG, context, FSCONFIG_SET_FLAG, b"ro", None, 0) < 0
            or _fsconfig(_FSCONFIG, context, FSCONFIG_SET_STRING, b"source", source.encode(), 0) < 0
            or _fsconfig(_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0) < 0
        ):
            _check(-1, fstype, _log(context))
        return _check(_fsmount(_FSMOUNT, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY), fstype)
    finally:
        os.close(context)


def _log(context: int) -> str:
    """What the kernel's fs-context log says; errno stays as it is."""
    number = get_errno()
    # The kernel hands out one message per read, ENODATA when there is none left.
    said: list[str] = []
    with suppress(OSError):
        while len(said) < 16:
            said.append(os.read(context, 4096).decode(errors="replace").strip())
    set_errno(number)
    return "; ".join(said)


class FileSystemContext:
    """An fs context (fsopen): configure, then `mount` it, detached. A context manager."""

    def __init__(self, fstype: str) -> None:
        self._name = fstype
        self._fd = _check(_fsopen(_FSOPEN, fstype.encode(), FSOPEN_CLOEXEC), fstype)

    def __enter__(self) -> FileSystemContext:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def _configure(self, command: int, key: bytes | None, value: bytes | None, aux: int) -> None:
        result = _fsconfig(_FSCONFIG, self._fd, command, key, value, aux)
        if result < 0:
            _check(result, self._name, _log(self._fd))

    def flag(self, key: str) -> None:
        """Set a flag such as "ro"."""
        self._configure(FSCONFIG_SET_FLAG, key.encode(), None, 0)

    def string(self, key: str, value: str) -> None:
        """Set a string of at most 255 bytes."""
        self._configure(FSCONFIG_SET_STRING, key.encode(), value.encode(), 0)

    def descriptor(self, key: str, fd: int) -> None:
        """Set a parameter by file descriptor."""
        self._configure(FSCONFIG_SET_FD, key.encode(), None, fd)

    def mount(self, attributes: int = 0) -> int:
        """Create the superblock and give a detached mount of it (descriptor)."""
        self._configure(FSCONFIG_CMD_CREATE, None, None, 0)
        return _check(_fsmount(_FSMOUNT, self._fd, FSMOUNT_CLOEXEC, attributes), self._name)
