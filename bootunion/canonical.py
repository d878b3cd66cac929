"""Strict JSON: one way to write a value, and a reader that takes no other liberties.

What is signed must mean the same to every reader, so duplicate keys, floats, NaN and
unbounded nesting are refused instead of interpreted.
"""

from __future__ import annotations

from . import json_c
from .errors import BootunionError

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

MAX_DEPTH = 16
"""Deepest nesting of any bootunion document, with room to grow (the deepest today is 4)."""

MAX_INTEGER = (1 << 63) - 1


def encode(value: object) -> bytes:
    """`value` as canonical JSON: sorted keys, no white space, UTF-8, one newline at the end."""
    return json_c.text(value, ",", ":", sort_keys=True).encode() + b"\n"


def decode(data: bytes, *, subject: str, code: str = "json-invalid") -> object:
    """The value that `data` holds.

    `data` is bounded by the caller. Raises BootunionError `code` for anything that is not JSON in
    the strict form: not UTF-8, a byte order mark, duplicate keys, floats, integers beyond 64 bits,
    nesting deeper than `MAX_DEPTH`, anything behind the value.
    """
    try:
        value = json_c.parse(data.decode("utf-8"), _unique, _no_float)
        _check(value)
    except (ValueError, RecursionError) as error:
        # UnicodeDecodeError and JSONDecodeError are ValueErrors; their text names the position.
        raise BootunionError(code, f"not strict JSON: {error}", subject=subject) from None
    return value


def _check(value: object, depth: int = 1) -> None:
    # After the parser, whose C scanner stops runaway nesting with a RecursionError: walking the
    # few values costs less at boot than looking at each character or integer on the way.
    if isinstance(value, dict):
        inner: Iterable[object] = value.values()
    elif isinstance(value, list):
        inner = value
    else:
        inner = (value,)
        depth = 0
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    for item in inner:
        kind = type(item)
        if kind is int:
            if not -MAX_INTEGER <= item <= MAX_INTEGER:  # type: ignore[operator]
                raise ValueError("an integer beyond 64 bits")
        elif kind is dict or kind is list:
            _check(item, depth + 1)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not an integer")
