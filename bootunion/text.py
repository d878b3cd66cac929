"""Names as they can be shown: a path in a package may hold any byte but NUL and slash."""

from __future__ import annotations


def encodable(text: str) -> str:
    """Text without surrogates, for JSON and files: bytes that are no UTF-8 stand as `\\xff`."""
    if text.isprintable():  # quick, and no surrogate is printable
        return text
    return "".join(escaped(char) if "\ud800" <= char <= "\udfff" else char for char in text)


def printable(text: str) -> str:
    """Text for a terminal: also line ends, escape sequences and directions stand escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else escaped(char) for char in text)


_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escaped(char: str) -> str:
    """How a character that cannot be seen is written: a lone byte as \\x80, others by code."""
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as Python's surrogateescape keeps it
        return f"\\x{code - 0xDC00:02x}"
    if char in _SHORT:
        return _SHORT[char]
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
