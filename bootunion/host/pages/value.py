"""Reading a JSON value of the contract with types, so that a wrong one fails where it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Value = Mapping[str, Any]


def rows(value: Value, name: str) -> list[Value]:
    """A list of objects; an absent one is empty."""
    return list(value.get(name) or ())


def string(value: Value, name: str) -> str:
    """A string; an absent one or null is empty."""
    found = value.get(name)
    return "" if found is None else str(found)


def integer(value: Value, name: str) -> int:
    """A whole number; an absent one or null is 0."""
    return int(value.get(name) or 0)
