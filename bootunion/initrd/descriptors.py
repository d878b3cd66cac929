"""How many files this process may have open: below an index, one for each package."""

from __future__ import annotations

import struct

from bootunion.native import INT, TEXT, c_function

_RLIMIT_NOFILE = 7  # asm-generic/resource.h; the same wherever Debian builds for
_USUAL = 1024 - 64  # what a process gets, less what else is open
_SPARE = 256


def allow(files: int) -> None:
    """Let this process have `files` open beside the usual; needs privileges for more than 1,024.

    Where that is refused, opening too many says so.
    """
    if files > _USUAL:
        limit = struct.pack("@LL", files + _SPARE, files + _SPARE)
        c_function("setrlimit", INT, TEXT)(_RLIMIT_NOFILE, limit)
