"""What was found, worst first, grouped by code; with the refusals and what --deny named."""

from __future__ import annotations

from collections.abc import Sequence

from .markup import Html, join, tag
from .tables import SEVERITIES, plural, severity
from .value import Value, rows, string

_SHOWN = 12


def body(plan: Value) -> Html:
    """The section's content."""
    parts = []
    denied = [str(one) for one in plan.get("denied") or ()]
    if denied:
        named = tag("strong", "Denied and found: ")
        parts.append(tag("p", named, ", ".join(denied), class_="alert"))
    refused = rows(plan, "refusals")
    if refused:
        items = [_item(string(one, "subject"), "", string(one, "message"), string(one, "way_out"),
                       string(one, "code")) for one in refused]  # fmt: skip
        parts.append(_group("fatal", "refused by the agent", items, ""))
    found = rows(plan, "findings")
    for level in SEVERITIES:
        parts += _by_code(level, [one for one in found if string(one, "severity") == level])
    if not parts:
        parts.append(tag("p", "Nothing was found that stops this root or would surprise."))
    return join(parts)


def counts(plan: Value) -> str:
    """ "1 fatal finding, 2 warnings"; refusals count as fatal."""
    found = [string(one, "severity") for one in rows(plan, "findings")]
    found += ["fatal"] * len(rows(plan, "refusals"))
    words = (("fatal", "fatal finding", ""), ("warning", "warning", ""), ("info", "note", ""))
    some = [plural(found.count(level), *name) for level, *name in words if level in found]
    return ", ".join(some) or "no findings"


def _by_code(level: str, found: Sequence[Value]) -> list[Html]:
    groups = []
    for code in dict.fromkeys(string(one, "code") for one in found):
        same = [one for one in found if string(one, "code") == code]
        ways = {string(one, "way_out") for one in same}
        common = ways.pop() if len(ways) == 1 and len(same) > 1 else ""
        items = [
            _item(string(one, "path"), string(one, "package"), string(one, "text"),
                  "" if common else string(one, "way_out"))
            for one in same
        ]  # fmt: skip
        groups.append(_group(level, code, items, common))
    return groups


def _group(level: str, title: str, items: Sequence[Html], common: str) -> Html:
    head = tag("h3", severity(level), " ", title, " ",
               tag("span", plural(len(items), "time"), class_="note")
               if len(items) > 1 else None)  # fmt: skip
    way = _way_out(common) if common else None
    body = tag("ul", *items[:_SHOWN])
    rest = None
    if len(items) > _SHOWN:
        more = tag("summary", f"{len(items) - _SHOWN:,} more")
        rest = tag("details", more, tag("ul", *items[_SHOWN:]))
    return tag("article", head, way, body, rest, class_=f"finding {level}")


def _item(where: str, package: str, sentence: str, way_out: str, code: str = "") -> Html:
    place = tag("code", where) if where else None
    whose = tag("span", f"{package}", class_="package") if package else None
    return tag(
        "li",
        tag("p", place, " " if place else None, whose, class_="where") if place or whose else None,
        tag("p", sentence, " " if code else None, tag("code", code) if code else None),
        _way_out(way_out) if way_out else None,
    )


def _way_out(sentence: str) -> Html:
    return tag("p", tag("strong", "Way out: "), sentence, class_="way")
