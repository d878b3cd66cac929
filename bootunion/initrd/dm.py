"""Device-mapper devices by ioctl (include/uapi/linux/dm-ioctl.h), without libdevmapper or udev."""

from __future__ import annotations

import fcntl
import os
import struct

_CONTROL = "/dev/mapper/control"
_IOCTL = 0xC138FD00  # _IOWR(DM_IOCTL 0xfd, nr, struct dm_ioctl of 312 = 0x138 bytes)
_CREATE = 3
_REMOVE = 4
_SUSPEND = 6  # without DM_SUSPEND_FLAG it resumes
_TABLE_LOAD = 9
_READ_ONLY = 1
_DEFERRED_REMOVE = 1 << 17

# version[3], data_size, data_start, target_count, open_count, flags, event_nr, padding, dev,
# name, uuid, data.
_HEADER = struct.Struct("<3I II I i I I I Q 128s 129s 7s")
# sector_start, length, status, next, target_type
_TARGET = struct.Struct("<QQiI16s")
_VERSION = (4, 0, 0)
_SECTOR = 512


class Control:
    """The open device-mapper control node; a context manager."""

    def __enter__(self) -> Control:
        self._fd = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def _call(self, number: int, name: str, *, uuid: str = "", flags: int = 0, data: bytes = b"",
              targets: int = 0) -> int:  # fmt: skip
        size = _HEADER.size + len(data)
        header = _HEADER.pack(
            *_VERSION, size, _HEADER.size, targets, 0, flags, 0, 0, 0,
            name.encode(), uuid.encode(), b"",
        )  # fmt: skip
        buffer = bytearray(header + data)
        try:
            fcntl.ioctl(self._fd, _IOCTL | number, buffer)
        except OSError as error:
            raise OSError(error.errno, error.strerror, name) from None
        device: int = _HEADER.unpack_from(buffer)[10]
        return device

    def create(self, name: str, uuid: str, target: str, table: str, size: int) -> str:
        """A live read-only device of `size` bytes with one target; gives its path.

        Nothing is left of it when loading the table fails. Raises OSError.
        """
        number = self._call(_CREATE, name, uuid=uuid)
        try:
            text = table.encode() + b"\0"
            text += b"\0" * (-len(text) % 8)
            spec = _TARGET.pack(0, size // _SECTOR, 0, _TARGET.size + len(text), target.encode())
            self._call(_TABLE_LOAD, name, flags=_READ_ONLY, data=spec + text, targets=1)
            self._call(_SUSPEND, name)
        except OSError:
            self._call(_REMOVE, name)
            raise
        # The kernel's encoding of a device number in 64 bits: new_encode_dev, linux/kdev_t.h.
        minor = number & 0xFF | number >> 12 & 0xFFF00
        return f"/dev/dm-{minor}"

    def remove(self, name: str) -> None:
        """Take a device away, at once or when its last user closes it."""
        self._call(_REMOVE, name, flags=_DEFERRED_REMOVE)
