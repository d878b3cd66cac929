"""Decodes a contents file quickly: a plan reads hundreds of thousands of lines.

`contents.decode` says what a contents file is, line by line. This module says the same of whole
files, in a third of the time, and leaves to it whatever is not as `contents.encode` writes it: so
what is refused is refused there, with the line's number. tests/fuzz holds the two together.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Sequence

from . import contents
from .contents import TYPES, Entry, entry_of, odd_path

# A line of an entry without attributes, device, linking and escaped characters: nearly all. Every
# other line is the last group, and goes the slow way.
_NUMBER = "0|[1-9][0-9]{0,17}"
_TEXT = r'[^"\\\x00-\x1f]*'
_LINE = re.compile(
    r'(?:\{(?:"digest":"([0-9a-f]{64})",)?'
    rf'"gid":({_NUMBER}),'
    rf'(?:"hard_link":"({_TEXT})",)?'
    rf'"mode":({_NUMBER}),'
    rf'(?:"mtime":({_NUMBER}),)?'
    rf'"path":"({_TEXT})",'
    rf'(?:"size":({_NUMBER}),)?'
    rf'(?:"target":"({_TEXT})",)?'
    rf'"type":"({"|".join(TYPES)})",'
    rf'"uid":({_NUMBER})\}}|(.*))\n'
)
# What a path that is not plain must have somewhere, among paths between newlines; a hidden file has
# it as well.
_SUSPECT = ("//", "/.", "\n/", "/\n", "\n.")
_NO_DEVICE = (0, 0)
# The defaults of the fields that a plain line never has, behind those of `_entries`.
_REST: tuple[object, ...] = tuple(list(Entry._field_defaults.values())[7:])


def decode(data: bytes, *, subject: str) -> list[Entry]:
    """The entries of a contents file's JSON lines, sorted by path.

    `data` must have been checked against the signed manifest's digest. Raises BootunionError
    contents-invalid, as `contents.decode` does.
    """
    try:
        quick = _quick(data)
    except (ValueError, TypeError, KeyError, RecursionError):
        quick = None
    return list(contents.decode(data, subject=subject)) if quick is None else quick


class _Numbers(dict[str, int]):
    """The numbers up to `most` by their text, each made once: most owners and modes are the same.

    An absent field is the empty text. Raises ValueError for a larger number.
    """

    def __init__(self, most: int) -> None:
        super().__init__({"": 0})
        self._most = most

    def __missing__(self, text: str) -> int:
        value = int(text)
        if value > self._most:
            raise ValueError(text)
        self[text] = value
        return value


def _quick(data: bytes) -> list[Entry] | None:
    """The entries, or None where the slow way has to say what this is."""
    # Of these, `contents.decode` and the expression would not see the same lines.
    if not data.endswith(b"\n") or b"\r" in data or not data.isascii():
        return None
    entries = _entries(_LINE.findall(data.decode("ascii")))
    paths = [entry[0] for entry in entries]
    if not all(map(operator.lt, paths, paths[1:])) or _odd(paths):
        return None
    if not paths[0] and entries[0].type != contents.DIRECTORY:
        return None
    return entries


def _entries(lines: Sequence[tuple[str, ...]]) -> list[Entry]:
    owners, modes = _Numbers(contents.MAX_ID), _Numbers(contents.MAX_MODE)
    large = _Numbers(contents.MAX_SIZE)
    kinds = {kind: kind for kind in TYPES}  # each text once
    new, rest = tuple.__new__, _REST
    return [
        new(Entry, (
            path, kinds[kind], modes[mode], owners[uid], owners[gid], large[mtime], large[size],
            digest, target, _NO_DEVICE, (), hard_link, *rest,
        )) if kind else entry_of(json.loads(line))
        for digest, gid, hard_link, mode, mtime, path, size, target, kind, uid, line in lines
    ]  # fmt: skip


def _odd(paths: Sequence[str]) -> bool:
    """Whether a path has an empty part, "." or ".."; the root's "" comes first and is none."""
    first = 0 if paths[0] else 1
    together = "\n".join(("", *paths[first:], ""))
    suspect = any(text in together for text in _SUSPECT)
    return suspect and any(map(odd_path, paths))
