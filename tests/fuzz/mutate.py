"""Makes bad documents of a good one: by its structure where it is JSON, by its bytes everywhere."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1 << 31, (1 << 53) - 1, 1 << 63, 1 << 64, -(1 << 63), 1.5, 1e308,
    "", "/", "..", "a/../b", "\0", "\n", "\ud800", "é" * 300, "a" * 5000, [], {}, [[]], {"": {}},
    [None] * 9,
)  # fmt: skip
_BYTES = (b"\0", b"\xff", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\xed\xa0\x80",
          b'\\u0000', b'\\ud800', b"1e9", b"NaN", b"-", b"//")  # fmt: skip
_LARGE = 1 << 16


def mutated(seed: bytes, luck: random.Random) -> bytes:
    """One to four changes of `seed`."""
    data = seed
    for _ in range(luck.choice((1, 1, 1, 2, 2, 3, 4))):
        data = _structure(data, luck) if luck.random() < 0.7 else _raw(data, luck)
    return data


def _structure(data: bytes, luck: random.Random) -> bytes:
    line, lines = 0, [data]
    if len(data) > _LARGE:  # changes multiply: what is large already stays about as large
        return _raw(data, luck)[: 2 * _LARGE]
    if data.count(b"\n") > 1:
        lines = data.splitlines()
        line = luck.randrange(len(lines))
    try:
        value = json.loads(lines[line])
    except (ValueError, RecursionError):
        return _raw(data, luck)
    lines[line] = json.dumps(_change(value, luck)).encode("utf-8", "surrogatepass")
    return b"\n".join(lines) + b"\n"


def _change(value: Any, luck: random.Random) -> Any:
    """`value` with one node changed, however deep."""
    if isinstance(value, dict) and value and luck.random() < 0.85:
        return _object(value, luck)
    if isinstance(value, list) and value and luck.random() < 0.85:
        return _list(value, luck)
    if isinstance(value, str) and value and luck.random() < 0.5:
        return _text(value, luck)
    if isinstance(value, int) and luck.random() < 0.5:
        return value + luck.choice((-1, 1, 1 << 8, 1 << 32, 1 << 62))
    return luck.choice(_ODD)


def _object(value: dict[str, Any], luck: random.Random) -> Any:
    key = luck.choice(list(value))
    kind = luck.random()
    if kind < 0.1:
        return {one: item for one, item in value.items() if one != key}
    if kind < 0.2:
        return {**value, luck.choice(("extra", key.upper(), "")): luck.choice(_ODD)}
    return {**value, key: _change(value[key], luck)}


def _list(value: list[Any], luck: random.Random) -> Any:
    index = luck.randrange(len(value))
    kind = luck.random()
    if kind < 0.1:
        return value[:index] + value[index + 1 :]
    if kind < 0.2:
        return [*value, value[index]] if luck.random() < 0.9 else value * 600
    return [*value[:index], _change(value[index], luck), *value[index + 1 :]]


def _text(value: str, luck: random.Random) -> str:
    if luck.random() < 0.3:
        try:  # a payload inside an envelope
            inner = base64.b64decode(value, validate=True)
            if inner[:1] in (b"{", b"["):
                return base64.b64encode(mutated(inner, luck)).decode()
        except ValueError:
            pass
    place = luck.randrange(len(value))
    return (
        value[:place]
        + luck.choice(("", "/", "0", "g", "\0", "\n", "é", "=", value))
        + value[place + 1 :]
    )


def _raw(data: bytes, luck: random.Random) -> bytes:
    place = luck.randrange(len(data) + 1)
    kind = luck.randrange(5)
    if kind == 0 and place < len(data):
        return data[:place] + bytes([data[place] ^ 1 << luck.randrange(8)]) + data[place + 1 :]
    if kind == 1:
        return data[:place]
    if kind == 2:
        end = luck.randrange(place, len(data) + 1)
        return data[:place] + data[end:]
    if kind == 3:
        end = min(len(data), place + luck.randrange(64))
        return data[:end] + data[place:end] * luck.choice((1, 2, 50)) + data[end:]
    return data[:place] + luck.choice(_BYTES) * luck.choice((1, 1, 3, 2000)) + data[place:]
