"""What the drawings share: rows that get thinner, names beside them, lines at quarters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bootunion.text import printable

from .markup import Html, join, tag

WIDTH = 176  # of the column of names, pixels
_LINE = 13  # what a name needs, pixels
_LONGEST = 22  # characters of a name
_SHORTER = 18  # where a leader takes some of the room


class Label(NamedTuple):
    """The name of a row at the height `y`. `weight` says who is named where room is short."""

    name: str
    title: str
    kind: str
    y: float
    weight: int


def row_step(count: int) -> tuple[float, float]:
    """(from row to row, thickness of a bar) in pixels, for `count` rows."""
    if count <= 32:
        return 24, 15
    if count <= 90:
        return 15, 10
    step = max(2.5, round(2200 / count) / 2)
    return step, step - (1 if step >= 4 else 0.5)


def guides(height: int) -> Html:
    """Lines at the quarters."""
    return join(
        tag("line", x1=f"{x}%", x2=f"{x}%", y1=0, y2=height, class_="grid") for x in (25, 50, 75)
    )


def names(labels: Sequence[Label], height: int, step: float) -> Html:
    """The column of names: all where rows are high enough, else the weightiest with leaders."""
    if step >= _LINE:
        return join(_name(one, one.y, WIDTH - 10, _LONGEST) for one in labels)
    room = min(40, height // (_LINE + 6))
    weighty = sorted(labels, key=lambda one: -one.weight)[:room]
    chosen = sorted(weighty, key=lambda one: one.y)
    drawn = []
    for one, y in zip(chosen, _spread([one.y for one in chosen], height), strict=True):
        line = f"M{WIDTH - 32},{y:.1f} L{WIDTH - 14},{one.y:.1f} H{WIDTH - 2}"
        drawn += [_name(one, y, WIDTH - 36, _SHORTER), tag("path", d=line, class_="leader")]
    return join(drawn)


def _spread(wanted: Sequence[float], height: float) -> list[float]:
    """Places as near as possible to the wanted ones, none closer than a line to the next."""
    placed: list[float] = []
    for want in wanted:
        placed.append(max(want, placed[-1] + _LINE if placed else _LINE / 2))
    limit = height - _LINE / 2
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - _LINE
    return placed


def _name(one: Label, y: float, right: float, longest: int) -> Html:
    name = printable(one.name)
    short = name if len(name) <= longest else f"{name[: longest - 1]}…"
    sign = "✗ " if one.kind == "bad" else ""
    return tag("text", tag("title", printable(one.title)), f"{sign}{short}", x=right, y=y,
               text_anchor="end", dominant_baseline="central", class_=one.kind)  # fmt: skip
