"""The timeline of a boot as a drawing: a row for each step of the agent and for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bootunion.text import printable

from .drawing import Label, guides, names, row_step
from .markup import Html, join, tag
from .value import Value, integer, rows, string

_OWN_STEP, _OWN_BAR = 19, 12  # pixels
_LEAST = 0.15  # percent; what is shorter could not be seen
_KINDS = {
    "own": "the agent's own step", "bind-file": "compare the sealed file's digest",
    "attach-loop": "attach the loop device",
    "create-verity": "create the verity device", "mount-image": "mount the image",
}  # fmt: skip


class _Row(NamedTuple):
    name: str
    own: bool
    steps: Sequence[Value]

    @property
    def took(self) -> int:
        return sum(integer(one, "took_us") for one in self.steps)


def milliseconds(us: int) -> str:
    """Microseconds as people read them: "12.3 ms", "1,204 ms"."""
    return f"{us / 1000:,.1f} ms" if us < 100_000 else f"{us / 1000:,.0f} ms"


def layer_name(step: Value) -> str:
    """The package of a layer's step, or its position where the report has no names."""
    return string(step, "package") or f"layer {integer(step, 'layer')}"


def by_layer(steps: Sequence[Value]) -> list[list[Value]]:
    """The steps of each layer, in order of their beginning."""
    found: dict[tuple[int, int], list[Value]] = {}
    for one in steps:
        if one["layer"] is not None:
            found.setdefault((integer(one, "attempt"), integer(one, "layer")), []).append(one)
    return list(found.values())


def drawing(report: Value) -> Html:
    """The figure with its legend."""
    whole = max(integer(report, "took_us"), 1)
    lines = _rows(rows(report, "steps"))
    step, thick = row_step(sum(not one.own for one in lines))
    # Rows of layers are as thin as they must be, the agent's own always have their names.
    own = min(step, _OWN_STEP) if step >= _OWN_STEP else _OWN_STEP
    labels, bars, y = [], [], 0.0
    for one in lines:
        high, bar = (own, _OWN_BAR) if one.own else (step, thick)
        middle = y + high / 2
        title = f"{one.name}: {milliseconds(one.took)}"
        weight = (one.own << 60) + one.took
        labels.append(Label(one.name, title, "own" if one.own else "layer", middle, weight))
        bars += [_bar(part, whole, middle - bar / 2, bar, one) for part in one.steps]
        y += high
    height = round(y) + 2
    smallest = min((own if one.own else step for one in lines), default=own)
    column = tag("div", tag("p", class_="axis"),
                 _svg(names(labels, height, smallest), height), class_="column names")  # fmt: skip
    plot = tag("div", _axis(whole), _svg(join((guides(height), *bars)), height), class_="column")
    text = f"{len(lines)} rows over {milliseconds(whole)}. The tables below have the numbers."
    chart = tag("div", column, plot, class_="timeline", role="img", aria_label=f"Timeline: {text}")
    return tag("figure", chart, tag("figcaption", _legend(lines)))


def _svg(body: Html, height: int) -> Html:
    return tag("svg", body, width="100%", height=height, aria_hidden="true", class_="plot")


def _rows(steps: Sequence[Value]) -> list[_Row]:
    lines = [_Row(string(one, "name"), True, [one]) for one in steps if one["layer"] is None]
    lines += [_Row(layer_name(each[0]), False, each) for each in by_layer(steps)]
    return sorted(lines, key=lambda one: integer(one.steps[0], "start_us"))


def _bar(step: Value, whole: int, y: float, thick: float, row: _Row) -> Html:
    start, took = integer(step, "start_us"), integer(step, "took_us")
    name = string(step, "name")
    kind = "own" if row.own else name if name in _KINDS else "create-verity"
    title = f"{row.name}: {name} at {milliseconds(start)}, {milliseconds(took)}"
    x = min(100 * start / whole, 100 - _LEAST)
    width = min(max(100 * took / whole, _LEAST), 100 - x)
    return tag("rect", tag("title", printable(title)), x=f"{x:.3f}%", width=f"{width:.3f}%", y=y,
               height=thick, class_=kind)  # fmt: skip


def _axis(whole: int) -> Html:
    marks = (tag("span", milliseconds(round(whole * part / 4))) for part in range(5))
    return tag("p", *marks, class_="axis")


def _legend(lines: Sequence[_Row]) -> Html:
    there = {string(step, "name") for one in lines if not one.own for step in one.steps} | {"own"}
    keys = tag("span", *(
        tag("span", tag("svg", tag("rect", x=1, y=1, width=16, height=9, class_=kind),
                        width=18, height=11, aria_hidden="true"), f" {text}", class_="key")
        for kind, text in _KINDS.items() if kind in there
    ), class_="legend")  # fmt: skip
    words = ("A layer's bar shows its steps from left to right: loop device, verity device, mount. "
             "Lines stand at quarters.")  # fmt: skip
    return join((keys, tag("p", words)))
