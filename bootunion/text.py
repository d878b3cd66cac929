"""Names as they can be shown: a path in a package may hold any byte but NUL and slash."""

from __future__ import annotations


def encodable(text: str) -> str:
    """Text without surrogates, for JSON and files: bytes that are no UTF-8 stand as `\\xff`."""
    if text.isprintable():  # quick, and no surrogate is printable
        return text
    return "".join(_escaped(char) if "\ud800" <= char <= "\udfff" else char for char in text)


def printable(text: str) -> str:
    """Text for a terminal: also line ends, escape sequences and directions stand escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # a byte, as Python's surrogateescape keeps it
        return f"\\x{ord(char) - 0xDC00:02x}"
    return ascii(char)[1:-1]
