"""Reads a file that somebody else wrote, and of it no more than its kind may have."""

from __future__ import annotations

from pathlib import Path

from bootunion.errors import BootunionError


def read(
    path: Path, limit: int, *, missing: str = "file-missing", large: str = "file-too-large",
    too_large: str = "has more than {limit} bytes", unreadable: str = "cannot be read",
) -> bytes:  # fmt: skip
    """A file's bytes, at most `limit`.

    Raises BootunionError `missing` (it cannot be read) or `large`, with these sentences.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        text = f"{unreadable}: {error.strerror}"
        raise BootunionError(missing, text, subject=str(path)) from None
    if len(data) > limit:
        raise BootunionError(large, too_large.format(limit=limit), subject=str(path))
    return data
