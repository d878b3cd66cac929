"""Paths that several layers have: a table with filters, and the same by pairs of packages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .markup import Child, Html, join, tag, text
from .tables import KINDS, SEVERITIES, Cell, Column, number, severity, table
from .value import Value, integer, rows, string

_COLUMNS = (
    Column("path", filter="path"), Column("winner", filter="package"),
    Column("loser", filter="package"),
    Column("kind", filter="kind", order=tuple(kind for kind, _ in KINDS)),
    Column("severity", filter="severity", order=SEVERITIES), Column("approved"),
)  # fmt: skip


def body(plan: Value) -> Html:
    """The section's content."""
    found = rows(plan, "contested")
    if not found:
        return tag("p", "No path is in more than one layer.")
    caption = f"Contested paths: who gives each, and who is hidden below ({len(found):,})"
    grid = table("contested", caption, _COLUMNS, map(_row, found))
    return join((_filters(found), grid, _kinds(found)))


def pairs(plan: Value) -> Html:
    """The same by pairs of packages."""
    found = rows(plan, "pairs")
    if not found:
        return tag("p", "No package hides another.")
    kinds = [kind for kind, _ in KINDS if any(kind in one["kinds"] for one in found)]
    columns = [
        Column("winner"), Column("loser"), *(Column(kind, number=True) for kind in kinds),
        Column("all", number=True),
    ]  # fmt: skip
    body: list[list[Child | Cell]] = [
        [_package(one, "winner"), _package(one, "loser"),
         *(number(one["kinds"][kind]) if one["kinds"].get(kind) else Cell("", 0) for kind in kinds),
         number(sum(one["kinds"].values()))]
        for one in sorted(found, key=lambda one: -sum(one["kinds"].values()))
    ]  # fmt: skip
    return table("pairs", f"Pairs of packages with contested paths ({len(found):,})", columns, body)


def _row(one: Value) -> list[Child | Cell]:
    return [
        string(one, "path"), _package(one, "winner"), _package(one, "loser"), string(one, "kind"),
        severity(string(one, "severity")), "yes" if one.get("approved") else "",
    ]  # fmt: skip


def _package(one: Value, role: str) -> Html:
    # Short on purpose: a large plan has 40,000 of these.
    return Html(f"{text(string(one, role))} <small>#{integer(one, f'{role}_position')}</small>")


def _filters(found: Sequence[Value]) -> Html:
    """Shown by the script, which alone can filter."""
    names = sorted({string(one, role) for one in found for role in ("winner", "loser")})
    return tag(
        "div",
        _field("path", "Path contains", "search", None),
        _field("package", "Package", "search", "package-names"),
        tag("datalist", *(tag("option", value=name) for name in names), id="package-names"),
        _choices(found, "kind", [kind for kind, _ in KINDS]),
        _choices(found, "severity", list(SEVERITIES)),
        tag("p", tag("output", for_="filter-path filter-package", class_="shown"), " ",
            tag("button", "Show all again", type="button", class_="reset"), class_="result"),
        class_="filters", role="search", aria_label="Filter the contested paths",
        data_table="contested-table", hidden=True,
    )  # fmt: skip


def _field(name: str, label: str, kind: str, suggestions: str | None) -> Html:
    entry = tag("input", type=kind, id=f"filter-{name}", list=suggestions, data_filter=name,
                autocomplete="off", spellcheck="false")  # fmt: skip
    return tag("div", tag("label", label, for_=f"filter-{name}"), entry, class_="field")


def _choices(found: Sequence[Value], name: str, order: Sequence[str]) -> Html:
    counted = Counter(string(one, name) for one in found)
    known = [one for one in order if one in counted]
    boxes = join(
        tag("label", tag("input", type="checkbox", checked=True, data_filter=name, value=one),
            f" {one} ", tag("span", f"{counted[one]:,}", class_="note"))
        for one in (*known, *sorted(counted.keys() - set(known)))
    )  # fmt: skip
    return tag("fieldset", tag("legend", name.capitalize()), boxes)


def _kinds(found: Sequence[Value]) -> Html:
    there = {string(one, "kind") for one in found}
    return tag("dl", *(
        tag("div", tag("dt", kind), tag("dd", meaning)) for kind, meaning in KINDS if kind in there
    ), class_="facts meanings")  # fmt: skip
