"""The timeline of a boot for people: bars on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from bootunion.text import printable

from . import console
from .bootreport import Step, Timeline
from .pages.timeline import milliseconds

_SLOWEST = 10
_BAR_WIDTH = 40


class _Line(NamedTuple):
    name: str
    start: int  # microseconds
    end: int
    took: int
    style: str


def summary(found: Timeline) -> str:
    """One sentence: what was booted, and how long the agent took."""
    system = found.facts["list"]
    what = (
        f"list {system.get('name')} generation {system.get('generation')}" if system else "no list"
    )
    return (
        f"boot {found.facts['number']}: {what} {found.facts['result']}; the agent began "
        f"{milliseconds(found.began_us)} after the kernel and took {milliseconds(found.took_us)}"
    )


def show(found: Timeline, *, everything: bool) -> None:
    """The timeline on standard output; on a terminal only the slowest layers unless asked."""
    if sys.stdout.isatty():
        _bars(found, everything)
    else:
        console.show_table("", ["start", "took", "step", "package"], [
            [f"{one.start_us / 1000:.3f}", f"{one.took_us / 1000:.3f}", printable(one.name),
             printable(one.package) or ("" if one.layer is None else f"layer {one.layer}")]
            for one in found.steps
        ])  # fmt: skip
    for kind, some in (
        ("refused", found.facts["refused"]), ("warning", found.facts["warnings"]),
        ("stopped", [found.facts["error"]] if found.facts["error"] else []),
    ):  # fmt: skip
        for one in some:
            text = f"{kind:9} {one.get('subject')}: {one.get('message')} [{one.get('code')}]"
            console.show_line(printable(text))
    for name in found.facts["left_out"]:
        console.show_line(printable(f"left out  {name}"))
    console.show_line(printable(summary(found)))


def show_kept(found: Sequence[Timeline]) -> None:
    """The boots that a store has reports of."""
    rows = []
    for one in found:
        system = one.facts["list"] or {}
        rows.append([
            str(one.facts["number"]), printable(str(system.get("name", ""))),
            printable(str(system.get("generation", ""))), printable(one.facts["result"]),
            milliseconds(one.took_us),
        ])  # fmt: skip
    columns = ["boot", "list", "generation", "result", "took"]
    console.show_table("boots", columns, rows, right=("boot", "generation", "took"))


def _bars(found: Timeline, everything: bool) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", title="the agent's boot",
                  title_justify="left")  # fmt: skip
    for column in ("at", "took"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("step", overflow="ellipsis", no_wrap=True, max_width=36)
    table.add_column("", width=_BAR_WIDTH, no_wrap=True)
    for line in _lines(found, everything):
        table.add_row(
            milliseconds(line.start), milliseconds(line.took), Text(printable(line.name)),
            Text(_bar(line, max(found.took_us, 1)), style=line.style),
        )  # fmt: skip
    console.out().print(table)


def _lines(found: Timeline, everything: bool) -> list[_Line]:
    own = [one for one in found.steps if one.layer is None]
    lines = [_Line(one.name, one.start_us, one.start_us + one.took_us, one.took_us, "magenta")
             for one in own]  # fmt: skip
    layers = sorted(map(_layer, by_layer(found.steps)), key=lambda line: -line.took)
    shown = layers if everything else layers[:_SLOWEST]
    lines += shown
    rest = layers[len(shown) :]
    if rest:
        took = sum(line.took for line in rest)
        first, last = min(line.start for line in rest), max(line.end for line in rest)
        lines.append(_Line(f"{len(rest)} more layers (--all)", first, last, took, "blue"))
    return sorted(lines, key=lambda line: (line.start, line.end))


def _bar(line: _Line, whole: int) -> str:
    start = min(line.start * _BAR_WIDTH // whole, _BAR_WIDTH - 1)
    length = round((line.end - line.start) * _BAR_WIDTH / whole)
    return " " * start + ("█" * min(length, _BAR_WIDTH - start) or "▏")


def by_layer(steps: Sequence[Step]) -> list[list[Step]]:
    """The steps of each layer, in order of their beginning."""
    found: dict[tuple[int, int], list[Step]] = {}
    for one in steps:
        if one.layer is not None:
            found.setdefault((one.attempt, one.layer), []).append(one)
    return list(found.values())


def _layer(steps: Sequence[Step]) -> _Line:
    first, last = steps[0], steps[-1]
    name = first.package or f"layer {first.layer}"
    took = sum(one.took_us for one in steps)
    return _Line(name, first.start_us, last.start_us + last.took_us, took, "cyan")
