"""The kernel's mount interfaces: mount(2), umount2(2) and the fsopen family.

Constants are from linux/mount.h and linux/fcntl.h, in the headers' order. The system call numbers
are the same on every architecture that Debian builds for (numbers were unified before them).
Each function raises OSError with errno, the path, and what the kernel's fs-context log said.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct

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

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
# One of its own with its types for what is called four times for each layer: ctypes converts the
# arguments itself, in half the time.
_fsconfig = _libc["syscall"]
_fsconfig.restype = ctypes.c_long
_fsconfig.argtypes = (
    ctypes.c_long, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int,
)  # fmt: skip


def _check(result: int, path: str, log: str = "") -> int:
    if result < 0:
        number = ctypes.get_errno()
        text = os.strerror(number)
        raise OSError(number, f"{text} ({log})" if log else text, path)
    return result


def _call(number: int, path: str, *arguments: object) -> int:
    return _check(_libc.syscall(ctypes.c_long(number), *arguments), path)


def mount(source: str, target: str, fstype: str, flags: int = 0, options: str = "") -> None:
    """mount(2). `options` must fit in one page with its NUL (4,095 bytes)."""
    _check(
        _libc.mount(
            source.encode(),
            target.encode(),
            fstype.encode(),
            ctypes.c_ulong(flags),
            options.encode() or None,
        ),
        target,
    )


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(target.encode(), ctypes.c_int(flags)), target)


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
    return _call(_OPEN_TREE, name, ctypes.c_int(directory), b"", ctypes.c_uint(flags))


def clone_path(path: str, *, recursive: bool = False) -> int:
    """A detached clone of the mount at `path`, rooted there (descriptor).

    With `recursive` also of what is mounted below.
    """
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
    if recursive:
        flags |= AT_RECURSIVE
    return _call(_OPEN_TREE, path, ctypes.c_int(AT_FDCWD), os.fsencode(path), ctypes.c_uint(flags))


def restrict(tree: int, attributes: int, name: str) -> None:
    """Set attributes (MOUNT_ATTR_…) of a detached mount; `name` is for the error's text only."""
    # struct mount_attr: attributes to set, to clear, propagation, user namespace; 64 bits each.
    wanted = struct.pack("<QQQQ", attributes, 0, 0, 0)
    _call(
        _MOUNT_SETATTR,
        name,
        ctypes.c_int(tree),
        b"",
        ctypes.c_uint(AT_EMPTY_PATH),
        wanted,
        ctypes.c_size_t(len(wanted)),
    )


def attach(tree: int, target: str) -> None:
    """Put a detached mount at `target`."""
    _call(
        _MOVE_MOUNT,
        target,
        ctypes.c_int(tree),
        b"",
        ctypes.c_int(AT_FDCWD),
        target.encode(),
        ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH),
    )


def attach_at(tree: int, place: int, name: str) -> None:
    """Put a detached mount at an open directory or file; `name` is for the error's text only."""
    _call(
        _MOVE_MOUNT,
        name,
        ctypes.c_int(tree),
        b"",
        ctypes.c_int(place),
        b"",
        ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH),
    )


def pivot(root: str) -> None:
    """Make the mount at `root` the root of this mount namespace, and take the old one away.

    Stacking the old root on the new one and unmounting it needs no directory for it
    (pivot_root(2), "pivot_root(".", ".")").
    """
    os.chdir(root)
    _call(_PIVOT_ROOT, root, b".", b".")
    unmount(".", MNT_DETACH)
    os.chdir("/")


def move(source: str, target: str) -> None:
    """Move the mount at `source` to `target`. EINVAL when its parent mount is shared."""
    _call(
        _MOVE_MOUNT,
        target,
        ctypes.c_int(AT_FDCWD),
        source.encode(),
        ctypes.c_int(AT_FDCWD),
        target.encode(),
        ctypes.c_uint(0),
    )


class FileSystemContext:
    """An fs context (fsopen): configure, then `mount` it, detached. A context manager."""

    def __init__(self, fstype: str) -> None:
        self._name = fstype
        self._fd = _call(_FSOPEN, fstype, fstype.encode(), ctypes.c_uint(FSOPEN_CLOEXEC))

    def __enter__(self) -> FileSystemContext:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def _configure(self, command: int, key: bytes | None, value: bytes | None, aux: int) -> None:
        result = _fsconfig(_FSCONFIG, self._fd, command, key, value, aux)
        if result < 0:
            number = ctypes.get_errno()
            log = self._log()
            ctypes.set_errno(number)
            _check(result, self._name, log)

    def _log(self) -> str:
        # The kernel hands out one message per read, ENODATA when there is none left.
        said: list[str] = []
        with contextlib.suppress(OSError):
            while len(said) < 16:
                said.append(os.read(self._fd, 4096).decode(errors="replace").strip())
        return "; ".join(said)

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
        return _call(
            _FSMOUNT,
            self._name,
            ctypes.c_int(self._fd),
            ctypes.c_uint(FSMOUNT_CLOEXEC),
            ctypes.c_uint(attributes),
        )
