"""The outer form of a .deb: an ar archive whose members fill the file (deb(5))."""

from __future__ import annotations

import os
from pathlib import Path

from bootunion.errors import BootunionError

_MAGIC = b"!<arch>\n"
_HEADER = 60  # name 16, time 12, owner 6, group 6, mode 8, size 10, end 2 bytes
_SIZE = slice(48, 58)
_END = b"`\n"


def check(path: Path) -> None:
    """Refuse what is not whole members from the first byte to the last.

    dpkg-deb stops reading behind the files, so it would not see what follows them. Raises
    BootunionError file-missing, deb-invalid.
    """
    try:
        with path.open("rb") as file:
            wrong = _wrong(file.fileno())
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise BootunionError("file-missing", text, subject=str(path)) from None
    if wrong:
        raise BootunionError("deb-invalid", wrong, subject=path.name)


def _wrong(fd: int) -> str:
    total = os.fstat(fd).st_size
    if os.pread(fd, len(_MAGIC), 0) != _MAGIC:
        return "is not a Debian package"
    place = len(_MAGIC)
    while place < total:
        header = os.pread(fd, _HEADER, place)
        size = header[_SIZE].rstrip(b" ")
        if header[58:] != _END or not size.isdigit():
            return f"has something else than an archive member at byte {place}"
        end = place + _HEADER + int(size)
        if end > total:
            return "is cut short"
        place = end + end % 2  # members begin at even bytes
    return ""
