"""openat2(2), Linux 5.6: opens what lies beneath a directory, and nothing else.

Constants are from linux/openat2.h.
"""

from __future__ import annotations

import os
import struct

from bootunion.native import INT, SIZE, TEXT, get_errno, system_call

_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 2
_RESOLVE_NO_SYMLINKS = 4
_RESOLVE_BENEATH = 8
_HOW = struct.Struct("<QQQ")  # struct open_how: flags, mode, resolve

_openat2 = system_call(INT, TEXT, TEXT, SIZE)


def beneath(directory: int, path: str, flags: int = os.O_RDONLY) -> int:
    """Open `path` below an open directory; no part of it may be a symlink or lead out.

    Gives a descriptor. A leading slash means the directory. Raises OSError, ELOOP for a symlink.
    """
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
    how = _HOW.pack(flags | os.O_CLOEXEC, 0, resolve)
    relative = path.strip("/") or "."
    result = _openat2(_OPENAT2, directory, os.fsencode(relative), how, _HOW.size)
    if result < 0:
        number = get_errno()
        raise OSError(number, os.strerror(number), path)
    return result
