"""The C half of the standard library's json, without the Python half.

Importing `json` brings `re` with it, and costs each boot as much as reading and checking a list of
150 packages (docs/measurements.md). A Python that has no such module gets the whole one.
"""

from __future__ import annotations

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SPACE = " \t\n\r"  # RFC 8259, section 2


class _Rules:
    """What the scanner asks of its context (CPython's Modules/_json.c, scanner_new)."""

    strict = True
    object_hook = None
    parse_int = int

    def __init__(self, pairs: Callable[[Any], Any], no_number: Callable[[str], Any]) -> None:
        self.object_pairs_hook = pairs
        self.parse_float = self.parse_constant = no_number


def parse(text: str, pairs: Callable[[Any], Any], no_number: Callable[[str], Any]) -> object:
    """The value in `text`. Raises ValueError, RecursionError, and what the two functions raise.

    `pairs` makes each object of its list of pairs; `no_number` is called with a float's text, or
    NaN's or an infinity's.
    """
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = _scanner(_Rules(pairs, no_number))(text, start)
    except StopIteration as stop:
        raise ValueError(f"no value at character {stop.value}") from None
    if text[end:].strip(_SPACE):
        raise ValueError(f"something behind the value, at character {end}")
    result: object = value
    return result


def text(value: object, between: str, colon: str, *, sort_keys: bool = False) -> str:
    """`value` as JSON in ASCII. Raises TypeError for what JSON has not, ValueError for NaN."""
    return "".join(_encoder(between, colon, sort_keys)(value, 0))


def _refuse(value: object) -> object:
    raise TypeError(f"a {type(value).__name__} has no place in JSON")


try:
    from _json import encode_basestring_ascii as _quoted
    from _json import make_encoder, make_scanner

    _scanner: Any = make_scanner

    def _encoder(between: str, colon: str, sort_keys: bool) -> Any:
        # Markers against circles, default, string encoder, indentation, separators, keys sorted,
        # wrong keys skipped, NaN allowed.
        return make_encoder(None, _refuse, _quoted, None, colon, between, sort_keys, False, False)

except ImportError:
    import json

    def _scanner(rules: _Rules) -> Any:
        return json.JSONDecoder(
            object_pairs_hook=rules.object_pairs_hook, parse_float=rules.parse_float,
            parse_constant=rules.parse_constant,
        ).scan_once  # type: ignore[attr-defined]  # fmt: skip

    def _encoder(between: str, colon: str, sort_keys: bool) -> Any:
        made = json.JSONEncoder(
            check_circular=False, allow_nan=False, sort_keys=sort_keys, default=_refuse,
            separators=(between, colon),
        )  # fmt: skip
        return lambda value, _: (made.encode(value),)
