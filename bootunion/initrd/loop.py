"""Loop devices by LOOP_CONFIGURE (Linux 5.8; include/uapi/linux/loop.h)."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

LOOP_CLR_FD = 0x4C01
LOOP_CONFIGURE = 0x4C0A
LOOP_CTL_GET_FREE = 0x4C82
LO_FLAGS_READ_ONLY = 1
LO_FLAGS_AUTOCLEAR = 4

# struct loop_config: fd, block_size, struct loop_info64, 8 reserved 64-bit words. Of loop_info64
# only lo_sizelimit and lo_flags are set: device, inode, rdevice, offset, sizelimit (64 bits each);
# number, encrypt type, encrypt key size, flags (32 bits each); names, key and init stay empty.
_CONFIG = struct.Struct("<II QQQQQ IIII 64s64s32s16s 64s")
_ATTEMPTS = 64


class Control:
    """The open loop control node; a context manager."""

    def __enter__(self) -> Control:
        self._fd = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def attach(self, image: int, size: int, name: str) -> tuple[int, str]:
        """A read-only loop device over the open file `image`, limited to `size` bytes.

        Gives (open descriptor of the device, its path). The device goes away by itself when its
        last user closes it. `name` is for the error's text. Raises OSError.
        """
        for _ in range(_ATTEMPTS):
            path = f"/dev/loop{fcntl.ioctl(self._fd, LOOP_CTL_GET_FREE)}"
            device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _configure(device, image, size)
            except OSError as error:
                os.close(device)
                # Somebody else took the number between the two calls: ask for another.
                if error.errno != errno.EBUSY:
                    raise OSError(error.errno, error.strerror, name) from None
                continue
            return device, path
        raise OSError(errno.EBUSY, "no free loop device", name)


def _configure(device: int, image: int, size: int) -> None:
    flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR
    packed = _CONFIG.pack(
        image, 4096, 0, 0, 0, 0, size, 0, 0, 0, flags, b"", b"", b"", b"", b""
    )  # fmt: skip
    fcntl.ioctl(device, LOOP_CONFIGURE, packed)
