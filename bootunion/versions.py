"""Comparing versions as dpkg does (deb-version(7), "Sorting algorithm"): pure."""

from __future__ import annotations

import re

_PARTS = re.compile(r"(\D*)(\d*)")


def key(version: str) -> tuple[object, ...]:
    """A key that sorts versions as dpkg would: epoch, upstream version, revision."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, "0"  # none is the same as 0
    return (int(epoch) if epoch.isdecimal() else 0, _part(upstream), _part(revision))


def _part(text: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    # The text before each number, then the number. Every text ends with 0, which is where a letter
    # and "~" are told from the end: "~" < end < letters < everything else.
    return tuple(
        ((*(_weight(char) for char in text), 0), int(digits or 0))
        for text, digits in _PARTS.findall(text)
    )


def _weight(char: str) -> int:
    if char == "~":
        return -1
    return ord(char) if char.isalpha() else ord(char) + 256


def compare(one: str, other: str) -> int:
    """Below, at or above 0 as `one` is older than, equal to or newer than `other`."""
    first, second = key(one), key(other)
    return (first > second) - (first < second)
