"""The page of `bootunion plan --html`, from the value of `plan --json` and nothing else."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from bootunion.host.console import human_size
from bootunion.text import printable

from . import contested, difference, findings, stack
from .markup import Child, Html, join, tag
from .shell import Section, document, masthead
from .tables import Cell, Column, facts, number, plural, table
from .value import Value, integer, rows, string

_LAYERS = (
    Column("#", number=True), Column("package"), Column("version"), Column("size", number=True),
    Column("files", number=True), Column("wins", number=True), Column("loses", number=True),
    Column("need"), Column("root hash"), Column("state", class_="state"),
    Column("source"),
)  # fmt: skip


def plan_page(value: Mapping[str, object]) -> str:
    """The whole page for a plan, schema 1 (docs/plan.schema.json)."""
    plan: Value = value
    system, layers, found = plan["list"], rows(plan, "layers"), rows(plan, "contested")
    diff = plan.get("diff")
    sections = [Section("findings", "Findings", "", findings.body(plan))]
    if diff:
        sections.append(Section("changes", "Changes", "", difference.body(diff)))
    sections += [
        Section("stack", "The stack", "", stack.drawing(layers, string(system, "upper"))),
        Section("layers", "Layers", f"{len(layers):,}", _layers(layers)),
        Section("contested", "Contested paths", f"{len(found):,}", contested.body(plan)),
        Section("pairs", "Pairs of packages", f"{len(rows(plan, 'pairs')):,}",
                contested.pairs(plan)),
        Section("costs", "What it costs", "", _costs(plan)),
    ]  # fmt: skip
    footer = tag("p", "Made by ", tag("code", "bootunion plan --html"), " from the plan alone. "
                 "This page loads nothing and sends nothing.")  # fmt: skip
    title = f"{'boots' if plan['boots'] else 'does not boot'}: {_name(system)}"
    return document(printable(title), _header(plan, system), sections, footer)


def _name(system: Value) -> str:
    generation = system.get("generation")
    return (
        f"{string(system, 'name')} generation {generation}"
        if generation
        else string(system, "name")
    )


def _header(plan: Value, system: Value) -> Html:
    boots = bool(plan["boots"])
    signers = [str(one) for one in system.get("signers") or ()]
    source = {
        "store": "signed list in a store",
        "file": "signed list in a file",
        "system.yaml": "system.yaml, not composed yet",
    }
    return masthead(
        "bootunion plan", _name(system),
        facts((
            ("kernel", string(system, "kernel") or "any"),
            ("architecture", string(system, "architecture")),
            ("upper", string(system, "upper")),
            ("floor", integer(system, "floor") or None),
            ("created", _time(system, "created")),
            ("expires", _time(system, "expires") or "never"),
            ("from", source.get(string(system, "source"), string(system, "source"))),
            ("signed by", join(_short(one) for one in signers)),
        )),
        tag("strong", "This root boots." if boots else "This root does not boot."),
        " ", tag("a", f"{findings.counts(plan)}", href="#findings"), good=boots,
    )  # fmt: skip


def _time(system: Value, name: str) -> str:
    """Seconds since 1970, or what the plan says in words."""
    found = system.get(name)
    if not isinstance(found, int) or not found:
        return string(system, name) if found else ""
    try:
        when = datetime.datetime.fromtimestamp(found, tz=datetime.UTC)
    except (OverflowError, OSError, ValueError):
        return str(found)
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _short(digest: str) -> Html:
    """Enough of a digest to recognise it; the whole is one hover away."""
    if not digest:
        return tag("span", "not known yet", class_="note")
    return tag(
        "code", f"{digest[:16]}…" if len(digest) > 16 else digest, title=digest, class_="hash"
    )


def _layers(layers: list[Value]) -> Html:
    caption = f"Layers, top first ({len(layers):,})"
    return table("layers", caption, _LAYERS, (_layer(one) for one in layers), heading=1)


def _layer(one: Value) -> list[Child | Cell]:
    size = integer(one, "size")
    kind = tag("span", " generated", class_="note") if one.get("generated") else None
    source = one.get("source") or {}
    name = string(one, "name")
    return [
        number(integer(one, "position")), Cell(join((name, kind)), name), string(one, "version"),
        Cell(human_size(size), size), number(integer(one, "files")),
        number(integer(one, "wins")), number(integer(one, "loses")), string(one, "need"),
        _short(string(one, "root_hash")), _state(one),
        tag("span", string(source, "kind"), title=string(source, "file") or None),
    ]  # fmt: skip


def _state(one: Value) -> Cell:
    problem = string(one, "problem")
    if problem:
        return Cell(tag("span", f"✗ {problem}", class_="bad"), f"0 {problem}")
    if not one.get("present", True):
        return Cell("not in the store", "1")
    return Cell("✓ verified", "3") if one.get("verified") else Cell("not verified", "2")


def _costs(plan: Value) -> Html:
    cost, union = plan["cost"], plan["union"]
    estimated = cost.get("estimated_ms")
    types = ", ".join(f"{count:,} {name}" for name, count in (union.get("types") or {}).items())
    matches = union.get("matches_list")
    return join((
        tag("dl", *(
            tag("div", tag("dt", name), tag("dd", shown)) for name, shown in (
                ("kernel memory", human_size(integer(cost, "kernel_memory_bytes"))),
                ("disk", human_size(integer(cost, "disk_bytes"))),
                ("to download", _download(cost)),
                ("loop and verity devices", _devices(cost)),
                ("estimated time of the agent", f"{estimated:,} ms" if estimated else ""),
            ) if shown
        ), class_="tiles"),
        facts((
            ("paths of the union", f"{integer(union, 'paths'):,}"), ("of these", types),
            ("digest of the union", string(union, "digest") and tag(
                "code", string(union, "digest"), class_="hash"
            )),
            ("united by", _united(union)),
            ("without devices where sealed", _by_file(union)),
            ("as the list says", None if matches is None else "✓ yes" if matches else "✗ no"),
        )),
    ))  # fmt: skip


def _united(union: Value) -> str:
    """How, in words, and why; "" in a plan that does not say."""
    index = union.get("index") or {}
    how = {"index": f"an index of {human_size(integer(index, 'size'))}", "layers": "overlayfs"}
    found, why = how.get(string(union, "strategy"), ""), string(union, "why")
    return f"{found}: {why}" if found and why else found


def _by_file(union: Value) -> str:
    count = integer(union, "by_file")
    return plural(count, "package") if count else ""


def _download(cost: Value) -> str:
    missing = integer(cost, "missing_packages")
    size = human_size(integer(cost, "download_bytes"))
    return f"{size} in {plural(missing, 'package')}" if missing else "nothing"


def _devices(cost: Value) -> str:
    return f"{integer(cost, 'loop_devices'):,} + {integer(cost, 'verity_devices'):,}"
