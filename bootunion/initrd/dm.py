"""Device-mapper devices by ioctl (include/uapi/linux/dm-ioctl.h), without libdevmapper or udev."""

from __future__ import annotations

import _thread
import errno
import fcntl
import os
import struct

from bootunion.values import NamedTuple

from .scopes import suppress

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from collections.abc import Sequence

UUID_PREFIX = "BOOTUNION-"
"""What the uuid of a layer's device begins with; the root hash follows."""

_CONTROL = "/dev/mapper/control"
_IOCTL = 0xC138FD00  # _IOWR(DM_IOCTL 0xfd, nr, struct dm_ioctl of 312 = 0x138 bytes)
_LIST_DEVICES = 2
_CREATE = 3
_REMOVE = 4
_SUSPEND = 6  # without DM_SUSPEND_FLAG it resumes
_TABLE_LOAD = 9
_TABLE_STATUS = 12
_READ_ONLY = 1
_STATUS_TABLE = 1 << 4
_BUFFER_FULL = 1 << 8
_DEFERRED_REMOVE = 1 << 17

# version[3] (4.0.0), data_size, data_start, target_count, open_count, flags, event_nr, padding,
# dev, name, uuid, data.
_HEADER = struct.Struct("<3I II I i I I I Q 128s 129s 7s")
# sector_start, length, status, next, target_type
_TARGET = struct.Struct("<QQiI16s")
_SECTOR = 512
_ANSWER = 1 << 16  # bytes: a verity table with its salt and root hash has about 250
_LISTED = struct.Struct("<QI")  # struct dm_name_list: device number, offset of the next one
_AT_ONCE = 32  # devices that are taken away
_NAMES = 1 << 20  # bytes: a device of ours has about 50


class Target(NamedTuple):
    """One target of a live device: `start` and `length` in bytes, `text` its table or status."""

    start: int
    length: int
    name: str
    text: str


class Control:
    """The open device-mapper control node; a context manager."""

    def __enter__(self) -> Control:
        self._fd = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def _call(self, number: int, name: str, *, uuid: str = "", flags: int = 0, data: bytes = b"",
              targets: int = 0) -> bytearray:  # fmt: skip
        size = _HEADER.size + len(data)
        buffer = bytearray(size)
        _HEADER.pack_into(
            buffer, 0, 4, 0, 0, size, _HEADER.size, targets, 0, flags, 0, 0, 0,
            name.encode(), uuid.encode(), b"",
        )  # fmt: skip
        if data:
            buffer[_HEADER.size :] = data
        try:
            fcntl.ioctl(self._fd, _IOCTL | number, buffer)
        except OSError as error:
            raise OSError(error.errno, error.strerror, name or uuid) from None
        return buffer

    def create(self, name: str, uuid: str, target: str, table: str, size: int) -> str:
        """A live read-only device of `size` bytes with one target; gives its path.

        Nothing is left of it when loading the table fails. Raises OSError.
        """
        made = self._call(_CREATE, name, uuid=uuid)
        try:
            text = table.encode() + b"\0"
            text += b"\0" * (-len(text) % 8)
            spec = _TARGET.pack(0, size // _SECTOR, 0, _TARGET.size + len(text), target.encode())
            self._call(_TABLE_LOAD, name, flags=_READ_ONLY, data=spec + text, targets=1)
            self._call(_SUSPEND, name)
        except OSError:
            self._call(_REMOVE, name)
            raise
        return _node(made)

    def look(self, uuid: str, *, table: bool) -> tuple[str, list[Target]]:
        """A live device's path, and its targets with their tables or, without `table`, status.

        Raises OSError, ENXIO when there is no device of that uuid.
        """
        room = bytes(_ANSWER)
        answer = self._call(
            _TABLE_STATUS, "", uuid=uuid, flags=_STATUS_TABLE if table else 0, data=room
        )
        fields = _HEADER.unpack_from(answer)
        start, count, flags = fields[4], fields[5], fields[7]
        if flags & _BUFFER_FULL:
            raise OSError(errno.EOVERFLOW, os.strerror(errno.EOVERFLOW), uuid)
        found, at = [], start
        for _ in range(count):
            first, length, _, following, name = _TARGET.unpack_from(answer, at)
            text = bytes(answer[at + _TARGET.size :]).partition(b"\0")[0].decode()
            kind = name.partition(b"\0")[0].decode()
            found.append(Target(first * _SECTOR, length * _SECTOR, kind, text))
            at = start + following  # counted from the first target (dm-ioctl.c, retrieve_status)
        return _node(answer), found

    def names(self) -> list[str]:
        """The names of all devices, whoever made them."""
        answer = self._call(_LIST_DEVICES, "", data=bytes(_NAMES))
        fields = _HEADER.unpack_from(answer)
        size, at, flags = fields[3], fields[4], fields[7]
        if flags & _BUFFER_FULL:
            raise OSError(errno.EOVERFLOW, os.strerror(errno.EOVERFLOW), _CONTROL)
        found: list[str] = []
        while at + _LISTED.size < size:
            number, following = _LISTED.unpack_from(answer, at)
            if number:  # 0: there are none at all
                name = bytes(answer[at + _LISTED.size : at + _LISTED.size + 128])
                found.append(name.partition(b"\0")[0].decode(errors="replace"))
            if not following:
                break
            at += following
        return found

    def remove_unused(self, name: str) -> None:
        """Take a device away that nobody has open, and leave any other as it is."""
        with suppress(OSError):
            self._call(_REMOVE, name)

    def remove(self, name: str) -> None:
        """Take a device away, at once or when its last user closes it."""
        self._call(_REMOVE, name, flags=_DEFERRED_REMOVE)


def remove_all(names: Sequence[str]) -> None:
    """Take devices away, at once or when their last users close them, whatever one of them says.

    The kernel lets a grace period pass for each: one behind the other, thousands would keep the
    next generation waiting for minutes. So several threads do it.
    """
    waiting = []
    for first in range(min(_AT_ONCE, len(names))):
        done = _thread.allocate_lock()
        done.acquire()
        _thread.start_new_thread(_remove_some, (names[first::_AT_ONCE], done))
        waiting.append(done)
    for done in waiting:
        done.acquire()


def _remove_some(names: Sequence[str], done: _thread.LockType) -> None:
    try:
        with suppress(OSError), Control() as control:
            for name in names:
                with suppress(OSError):
                    control.remove(name)
    finally:
        done.release()


def _node(answer: bytearray) -> str:
    number: int = _HEADER.unpack_from(answer)[10]
    # The kernel's encoding of a device number in 64 bits: new_encode_dev, linux/kdev_t.h.
    minor = number & 0xFF | number >> 12 & 0xFFF00
    return f"/dev/dm-{minor}"
