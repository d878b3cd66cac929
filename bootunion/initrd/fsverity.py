"""The digest of an open file that fs-verity keeps (include/uapi/linux/fsverity.h).

A file that has it cannot be written to any more, and the kernel checks each block that is read of
it against the digest (Documentation/filesystems/fsverity.rst).
"""

from __future__ import annotations

import errno
import fcntl
import struct

SHA256 = 1
DIGEST_SIZE = 32

_MEASURE = 0xC0046686  # FS_IOC_MEASURE_VERITY, _IOWR('f', 134, struct fsverity_digest)
_HEADER = struct.Struct("=HH")  # algorithm, bytes of room or of the digest
# A file without, a file system without, a kernel without.
_NONE = (errno.ENODATA, errno.ENOTTY, errno.EOPNOTSUPP)


def measure(fd: int) -> str:
    """The SHA-256 digest of an open file in hex, "" where it has none or another one.

    Raises OSError.
    """
    buffer = bytearray(_HEADER.pack(0, 64) + bytes(64))
    try:
        fcntl.ioctl(fd, _MEASURE, buffer)
    except OSError as error:
        if error.errno in _NONE:
            return ""
        raise
    if _HEADER.unpack_from(buffer) != (SHA256, DIGEST_SIZE):
        return ""
    return buffer[_HEADER.size : _HEADER.size + DIGEST_SIZE].hex()
