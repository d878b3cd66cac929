"""What changes between two lists: packages, paths, privileges, bytes to fetch."""

from __future__ import annotations

from bootunion.host.console import human_size

from .markup import Child, Html, join, tag
from .tables import Cell, Column, facts, plural, table
from .value import Value, integer, rows, string

_PACKAGES = (
    ("added", "added", "+"), ("removed", "removed", "\N{MINUS SIGN}"),
    ("upgraded", "upgraded", "↑"), ("downgraded", "downgraded", "↓"),
    ("changed", "same version, other content", "≠"),
    ("reordered", "moved", "↕"),
)  # fmt: skip


def body(diff: Value) -> Html:
    """The section's content."""
    paths = diff.get("paths") or {}
    changes = [*((path, "added", "") for path in paths.get("added") or ()),
               *((path, "removed", "") for path in paths.get("removed") or ()),
               *((one["path"], "changed", ", ".join(one["what"]))
                 for one in rows(paths, "changed"))]  # fmt: skip
    return join((
        facts((
            ("from", _list(diff["from"])), ("to", _list(diff["to"])),
            ("to fetch", human_size(integer(diff, "bytes_to_fetch"))),
            ("packages", _counts(diff)), ("paths", plural(len(changes), "change")),
        )),
        _packages(diff), _privileges(diff), _paths(sorted(changes)),
    ))  # fmt: skip


def _list(one: Value) -> str:
    return f"{string(one, 'name')} generation {string(one, 'generation')}"


def _counts(diff: Value) -> str:
    some = [f"{len(rows(diff, name))} {word}" for name, word, _ in _PACKAGES if rows(diff, name)]
    return ", ".join(some) or "none changes"


def _packages(diff: Value) -> Html | None:
    found: list[list[Child | Cell]] = []
    for name, word, sign in _PACKAGES:
        for one in rows(diff, name):
            old, new = _versions(name, one)
            what = join((tag("span", sign, class_="sign", aria_hidden="true"), " ", word))
            found.append([string(one, "name"), what, old, new])
    if not found:
        return None
    columns = [Column("package"), Column("change"), Column("before"), Column("after")]
    return table("changed-packages", f"Packages that change ({len(found):,})", columns, found)


def _versions(name: str, one: Value) -> tuple[str, str]:
    if name == "reordered":
        return (
            f"position {integer(one, 'from_position')}",
            f"position {integer(one, 'to_position')}",
        )
    if name in ("upgraded", "downgraded"):
        return string(one, "from"), string(one, "to")
    version = string(one, "version")
    return ("" if name == "added" else version), ("" if name == "removed" else version)


def _privileges(diff: Value) -> Html | None:
    found = [[string(one, "path"), _privilege(one["from"]), _privilege(one["to"])]
             for one in rows(diff, "privileges")]  # fmt: skip
    if not found:
        return None
    columns = [Column("path", class_="path"), Column("before"), Column("after")]
    return table("privileges", f"Privileges that change ({len(found):,})", columns, found)


def _privilege(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)


def _paths(changes: list[tuple[str, str, str]]) -> Html | None:
    if not changes:
        return None
    columns = [Column("path", class_="path"), Column("change"), Column("what")]
    caption = f"Paths of the union that change ({len(changes):,})"
    return table("changed-paths", caption, columns, changes)
