"""The stack drawn to scale: a row for each layer, top first; lengths are sizes and paths.

Each bar of the sizes begins where the one above ends: small layers stay visible as steps beside a
kernel that is a thousand times larger, and the right edge is the whole. Rows get thinner with
their number, and where names no longer fit each only those that matter are named. Widths are
percentages, so that the drawing needs no script.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bootunion.host.console import human_size
from bootunion.text import printable

from .drawing import Label, guides, names, row_step
from .markup import Html, join, tag
from .value import Value, integer, string

_LEAST = 0.4  # a bar that is shorter could not be seen, percent


class _Row(NamedTuple):
    name: str
    kind: str
    title: str
    size: int
    wins: int
    loses: int
    weight: int  # who is named first where there is no room for all


class _Grid(NamedTuple):
    step: float  # from row to row, pixels
    bar: float  # thickness of a bar, pixels

    def top(self, index: int) -> float:
        return index * self.step + (self.step - self.bar) / 2


def drawing(layers: Sequence[Value], upper: str) -> Html:
    """The figure with its legend. `upper` is the list's policy."""
    rows = [_layer(one) for one in layers]
    if upper != "none":
        where = "in memory, empty at each boot" if upper == "volatile" else "kept on disk"
        title = f"the upper: {where}; it wins every path that is written"
        rows.insert(0, _Row(f"{upper} upper", "upper", title, 0, 0, 0, 1 << 62))
    grid = _grid(len(rows))
    height = round(len(rows) * grid.step + 2)
    total = sum(row.size for row in rows)
    most = max((row.wins + row.loses for row in rows), default=0)
    columns = (
        ("", "names", _names(rows, grid, height)),
        (f"size on disk, added up: {human_size(total)}", "", _sizes(rows, grid, total, height)),
        (f"paths given and hidden, the most {most:,}", "", _paths(rows, grid, most)),
    )
    plot = tag("div", _patterns(), *(
        tag("div", tag("p", head, class_="axis"),
            tag("svg", body, width="100%", height=height, aria_hidden="true", class_="plot"),
            class_=f"column {kind}".strip())
        for head, kind, body in columns
    ), class_="stack", role="img", aria_label=_words(rows, upper))  # fmt: skip
    caption = tag("figcaption", _legend(rows), tag(
        "p", "Top first: a layer hides those below it. Each bar of sizes begins where the one "
        "above ends; lines stand at quarters. The shortest are drawn long enough to be seen."
    ))  # fmt: skip
    return tag("figure", plot, caption)


def _layer(one: Value) -> _Row:
    problem = string(one, "problem")
    kind = "bad" if problem else "generated" if one.get("generated") else string(one, "need")
    size, wins, loses = (integer(one, name) for name in ("size", "wins", "loses"))
    title = (
        f"{integer(one, 'position')} {string(one, 'name')} {string(one, 'version')}: "
        f"{human_size(size)}, gives {wins:,} paths, {loses:,} hidden"
    )
    weight = (problem != "") * (1 << 61) + (kind == "generated") * (1 << 60) + size + (loses << 12)
    return _Row(string(one, "name"), kind, f"{title}; {problem}" if problem else title,
                size, wins, loses, weight)  # fmt: skip


def _grid(count: int) -> _Grid:
    step, bar = row_step(count)
    return _Grid(step, bar)


def _words(rows: Sequence[_Row], upper: str) -> str:
    layers = [row for row in rows if row.kind != "upper"]
    total = sum(row.size for row in layers)
    big = max(layers, key=lambda row: row.size, default=None)
    text = f"The stack: {len(layers)} layers, {human_size(total)}, {upper} upper on top."
    if big is not None:
        text += f" The largest is {printable(big.name)} with {human_size(big.size)}."
    return f"{text} The table of layers has the same numbers."


def _names(rows: Sequence[_Row], grid: _Grid, height: int) -> Html:
    labels = [
        Label(row.name, row.title, row.kind, grid.top(index) + grid.bar / 2, row.weight)
        for index, row in enumerate(rows)
    ]
    return names(labels, height, grid.step)


def _sizes(rows: Sequence[_Row], grid: _Grid, total: int, height: int) -> Html:
    drawn, before = [guides(height)], 0
    for index, row in enumerate(rows):
        if row.kind == "upper":
            drawn.append(_bar(row, grid, index, 0, 100, "upper"))
            continue
        x = 100 * before / total if total else 0
        drawn.append(_bar(row, grid, index, x, _share(row.size, total), row.kind))
        before += row.size
    return join(drawn)


def _paths(rows: Sequence[_Row], grid: _Grid, most: int) -> Html:
    drawn = []
    for index, row in enumerate(rows):
        if row.kind == "upper":
            drawn.append(_bar(row, grid, index, 0, 100, "upper"))
            continue
        wins = _share(row.wins, most)
        drawn.append(_bar(row, grid, index, 0, wins, "wins"))
        if row.loses:
            drawn.append(_bar(row, grid, index, wins, max(1, _share(row.loses, most)), "loses"))
    return join(drawn)


def _share(part: int, whole: int) -> float:
    return max(_LEAST, 100 * part / whole) if part and whole else 0


def _bar(row: _Row, grid: _Grid, index: int, x: float, width: float, kind: str) -> Html:
    # The upper is drawn inside its row: half of a dashed line at the edge would be cut off.
    return tag("rect", tag("title", printable(row.title)), x=f"{min(x, 100 - _LEAST):.2f}%",
               width=f"{width:.2f}%", y=grid.top(index), height=grid.bar, class_=kind)  # fmt: skip


def _patterns() -> Html:
    """What the style fills bars with: no kind is told by its colour alone."""
    return tag("svg", tag("defs", *(
        tag("pattern", tag("path", d=path), id=name, width=4, height=4,
            patternUnits="userSpaceOnUse")
        for name, path in (("lost", "M-1,1 l2,-2 M0,4 l4,-4 M3,5 l2,-2"), ("made", "M0,2 h4"))
    )), width=0, height=0, class_="patterns", aria_hidden="true")  # fmt: skip


def _legend(rows: Sequence[_Row]) -> Html:
    words = {
        "required": "required package", "optional": "optional package (outlined)",
        "generated": "generated layer (striped)", "upper": "writable upper (dashed)",
        "bad": "problem (named with ✗)", "wins": "paths given", "loses": "paths hidden (hatched)",
    }  # fmt: skip
    there = {row.kind for row in rows} | {"wins"} | {"loses" for row in rows if row.loses}
    return tag("span", *(
        tag("span", tag("svg", tag("rect", x=1, y=1, width=16, height=9, class_=kind),
                        width=18, height=11, aria_hidden="true"), f" {text}", class_="key")
        for kind, text in words.items() if kind in there
    ), class_="legend")  # fmt: skip
