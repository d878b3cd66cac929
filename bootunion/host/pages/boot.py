"""The page of `bootunion boot-report --html`, from the value of its `--json` alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bootunion.text import printable

from . import timeline
from .markup import Child, Html, join, tag
from .shell import Section, document, masthead
from .tables import Cell, Column, facts, number, plural, table
from .timeline import milliseconds
from .value import Value, integer, rows, string

_OPERATIONS = ("bind-file", "attach-loop", "create-verity", "mount-image")


def boot_page(value: Mapping[str, object]) -> str:
    """The whole page for a boot report's value, schema 1 (docs/formats.md)."""
    report: Value = value
    steps = rows(report, "steps")
    sections = [Section("timeline", "Timeline", "", timeline.drawing(report))]
    troubles = _troubles(report)
    if troubles:
        sections.insert(0, Section("troubles", "What went wrong", "", troubles))
    sections.append(Section("steps", "Kinds of steps", "", _totals(report)))
    if any(one["layer"] is not None for one in steps):
        layers = timeline.by_layer(steps)
        sections.append(Section("layers", "Layers", f"{len(layers):,}", _layers(layers)))
    footer = tag("p", "Made by ", tag("code", "bootunion boot-report --html"), " from the agent's "
                 "report alone. This page loads nothing and sends nothing.")  # fmt: skip
    title = f"boot {integer(report, 'number')}: {_name(report)}"
    return document(printable(title), _header(report), sections, footer)


def _name(report: Value) -> str:
    system = report.get("list") or {}
    return (
        f"{string(system, 'name')} generation {string(system, 'generation')}"
        if system
        else "no list"
    )


def _header(report: Value) -> Html:
    result = string(report, "result")
    good = result == "assembled"
    words = {
        "assembled": "The root was assembled.", "refused": "No root: the agent refused.",
        "trying": "This boot was tried and never marked good.",
    }  # fmt: skip
    took = f" The agent took {milliseconds(integer(report, 'took_us'))}."
    system = report.get("list") or {}
    return masthead(
        "bootunion boot-report", _name(report),
        facts((
            ("boot", f"{integer(report, 'number'):,}"), ("chosen as", string(system, "why")),
            ("kernel", string(report, "kernel")),
            ("after the kernel's start", milliseconds(integer(report, "began_us"))),
            ("between steps", milliseconds(integer(report, "between_us"))),
            ("overlayfs got layers by", string(report, "overlay_layers_by")),
            ("bootunion", string(report, "bootunion")),
        )),
        tag("strong", words.get(result, result)), tag("span", took, class_="ink"), good=good,
    )  # fmt: skip


def _troubles(report: Value) -> Html:
    error = report.get("error")
    items = []
    if error:
        items.append(_trouble("fatal", f"stopped, {string(report, 'action') or 'halt'}", error))
    for one in rows(report, "refused"):
        what = f"generation {string(one, 'generation')} ({string(one, 'why')}) passed over"
        items.append(_trouble("fatal", what, one))
    items += [_trouble("warning", "warning", one) for one in rows(report, "warnings")]
    left = [str(one) for one in report.get("left_out") or ()]
    if left:
        items.append(tag("p", tag("strong", "Left out: "), ", ".join(left), class_="alert"))
    return join(items)


def _trouble(level: str, what: str, one: Value) -> Html:
    subject = string(one, "subject")
    return tag(
        "article",
        tag("h3", tag("span", what, class_=f"badge {level}"), " ", string(one, "code")),
        tag("p", tag("code", subject), class_="where") if subject else None,
        tag("p", string(one, "message")),
        tag("p", tag("strong", "Way out: "), string(one, "way_out"), class_="way"),
        class_=f"finding {level}",
    )  # fmt: skip


def _time(us: int) -> Cell:
    return Cell(f"{us / 1000:,.1f}", us)


def _totals(report: Value) -> Html:
    columns = [
        Column("step"), Column("times", number=True), Column("ms in all", number=True),
        Column("percent", number=True), Column("longest, ms", number=True),
    ]  # fmt: skip
    whole = max(integer(report, "took_us"), 1)
    body: list[list[Child | Cell]] = [
        [string(one, "name"), number(integer(one, "count")), _time(integer(one, "took_us")),
         Cell(f"{100 * integer(one, 'took_us') / whole:.1f}", integer(one, "took_us")),
         _time(integer(one, "longest_us"))]
        for one in sorted(rows(report, "totals"), key=lambda one: -integer(one, "took_us"))
    ]  # fmt: skip
    return table("steps", f"Where the time went ({plural(len(body), 'kind')})", columns, body)


def _layers(layers: Sequence[Sequence[Value]]) -> Html:
    there = {string(step, "name") for steps in layers for step in steps}
    names = [name for name in _OPERATIONS if name in there]
    columns = [
        Column("#", number=True), Column("package"), Column("at, ms", number=True),
        *(Column(f"{name}, ms", number=True) for name in names),
        Column("all, ms", number=True),
    ]  # fmt: skip
    caption = f"Layers, as they were mounted ({len(layers):,})"
    return table("layers", caption, columns, (_layer(one, names) for one in layers), heading=1)


def _layer(steps: Sequence[Value], names: Sequence[str]) -> list[Child | Cell]:
    first = steps[0]
    took = {string(one, "name"): integer(one, "took_us") for one in steps}
    return [
        number(integer(first, "layer")), timeline.layer_name(first),
        _time(integer(first, "start_us")), *(_time(took.get(name, 0)) for name in names),
        _time(sum(took.values())),
    ]  # fmt: skip
