"""Tables that a script makes sortable, filterable and short; without it they are simply whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .markup import Child, Html, attribute, content, join, tag

# Worst first: the order that columns sort by.
KINDS = (
    ("whiteout", "the winner takes the path away"),
    ("opaque", "an opaque directory of the winner hides it"),
    ("directory-over-symlink", "a real directory hides a symlink, as of merged /usr"),
    ("type", "another type of file"),
    ("privilege", "setuid, setgid or capabilities change"),
    ("content", "other content"),
    ("metadata", "other mode, owner or attributes"),
    ("same", "nothing is lost"),
)
SEVERITIES = ("fatal", "warning", "info")


class Column(NamedTuple):
    """A column: `number` is right-aligned; `filter` names the filter that looks at it.

    `order` has the words that it sorts by, where that is not the alphabet.
    """

    title: str
    number: bool = False
    filter: str = ""
    class_: str = ""
    order: tuple[str, ...] = ()


class Cell(NamedTuple):
    """A cell that sorts by `value` and not by what is shown."""

    shown: Child
    value: int | str


def table(
    name: str, caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Child | Cell]],
    *, heading: int = 0,
) -> Html:  # fmt: skip
    """A table in a region that scrolls by keyboard; `heading` is the column that names the row."""
    head = join(
        tag("th", one.title, scope="col", class_=_classes(one), data_filter=one.filter or None,
            data_order=" ".join(one.order) or None)
        for one in columns
    )  # fmt: skip
    ends = [_ends(one, index == heading) for index, one in enumerate(columns)]
    body = Html("".join(f"<tr>{''.join(map(_cell, ends, row))}</tr>\n" for row in rows))
    grid = tag(
        "table",
        tag("caption", caption), tag("thead", tag("tr", head)), tag("tbody", body),
        id=f"{name}-table",
    )  # fmt: skip
    return tag("div", grid, class_="scroll", role="region", tabindex=0, aria_label=caption)


def _ends(column: Column, heading: bool) -> tuple[str, str]:
    """How each cell of the column begins and ends: worked out once, not for 20,000 rows."""
    name, scope = ("th", "row") if heading else ("td", None)
    begin, _, end = tag(name, scope=scope, class_=_classes(column)).partition(">")
    return begin, end


def _cell(ends: tuple[str, str], cell: Child | Cell) -> str:
    begin, end = ends
    if isinstance(cell, Cell):
        return f'{begin} data-v="{attribute(cell.value)}">{content(cell.shown)}{end}'
    return f"{begin}>{content(cell)}{end}"


def _classes(column: Column) -> str | None:
    names = [name for name in ("n" if column.number else "", column.class_) if name]
    return " ".join(names) or None


def number(value: int) -> Cell:
    """A count with its thousands set apart."""
    return Cell(f"{value:,}", value)


def severity(name: str) -> Html:
    """A severity as a badge; the style adds a sign, so that not the colour alone tells."""
    return tag("span", name, class_=f"badge {name if name in SEVERITIES else 'info'}")


def facts(pairs: Iterable[tuple[str, Child]]) -> Html:
    """Names and values, those without a value left out."""
    return tag("dl", *(
        tag("div", tag("dt", name), tag("dd", value))
        for name, value in pairs
        if value not in (None, "")
    ), class_="facts")  # fmt: skip


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 warning", "2 warnings"."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
