"""How names may be spelt: an alphabet and a length.

Not regular expressions: the agent checks every name in a list, and importing `re` costs each boot
as much as reading and checking a list of 150 packages (docs/measurements.md).
"""

from __future__ import annotations

DIGITS = "0123456789"
LOWER = "abcdefghijklmnopqrstuvwxyz"
LETTERS = LOWER + LOWER.upper()


class Spelling:
    """At least `least` and at most `most` characters of `rest`, the first one of `first`."""

    __slots__ = ("_first", "_least", "_most", "_rest")

    def __init__(self, first: str, rest: str, most: int, *, least: int = 1) -> None:
        """`first` "" means that the first character is like the others."""
        self._first = first or rest
        self._rest = rest.encode()
        self._least = least
        self._most = most

    def match(self, text: str) -> bool:
        """Whether all of `text` is spelt like this."""
        # What is not ASCII becomes "?", which is in no alphabet: something is left of it.
        return (
            self._least <= len(text) <= self._most
            and not text.encode("ascii", "replace").translate(None, self._rest)
            and (not text or text[0] in self._first)
        )
