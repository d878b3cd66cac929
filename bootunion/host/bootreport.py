"""The timeline of a boot: reads the agent's report, of this machine or out of a store.

A report is written by the agent, but one that is kept in a store is no more to be trusted than the
store is: it is read with bounds, and only shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from bootunion.errors import BootunionError
from bootunion.fields import Fields
from bootunion.initrd import report as reporting
from bootunion.initrd import state as keeping
from bootunion.initrd.store import Store as Reader
from bootunion.systemlist import MAX_INDEXED

from . import bounded

SCHEMA = 1
_LIMIT = 8 << 20  # bytes; a report of 500 layers has about 200,000
_MOST_STEPS = 100_000
_MOST_WORDS = 4096
_BIG = 1 << 62


class Step(NamedTuple):
    """One step; times are microseconds since the agent's start, `package` is "" for its own.

    `attempt` counts the generations that were tried: each begins with reading its list.
    """

    name: str
    layer: int | None
    package: str
    attempt: int
    start_us: int
    took_us: int


class Timeline(NamedTuple):
    """A boot: `facts` are the report's own, `began_us` is the kernel's clock at the start."""

    facts: dict[str, Any]
    began_us: int
    took_us: int
    steps: tuple[Step, ...]

    def totals(self) -> list[tuple[str, int, int, int]]:
        """(step, how often, microseconds in all, the longest), in order of appearance."""
        found: dict[str, tuple[int, int, int]] = {}
        for one in self.steps:
            count, total, longest = found.get(one.name, (0, 0, 0))
            found[one.name] = count + 1, total + one.took_us, max(longest, one.took_us)
        return [(name, *counted) for name, counted in found.items()]

    def as_json(self) -> dict[str, Any]:
        """For `--json`, and all that the page is made from."""
        return {
            "schema": SCHEMA, **self.facts, "began_us": self.began_us, "took_us": self.took_us,
            "between_us": self.took_us - sum(one.took_us for one in self.steps),
            "totals": [
                {"name": name, "count": count, "took_us": total, "longest_us": longest}
                for name, count, total, longest in self.totals()
            ],
            "steps": [one._asdict() for one in self.steps],
        }  # fmt: skip


def read(path: Path) -> Timeline:
    """The report in a file. Raises BootunionError not-booted, file-too-large, json-invalid."""
    data = bounded.read(
        path, _LIMIT, missing="not-booted", unreadable="the agent's report cannot be read",
        too_large="is larger than {limit} bytes",
    )  # fmt: skip
    return parse(data, subject=str(path))


def read_kept(store: Path, number: int) -> Timeline:
    """The report of boot `number` that a store keeps.

    Raises BootunionError file-missing, file-invalid, file-too-large or json-invalid.
    """
    name = f"{number:010}.json"
    with Reader(str(store)) as reader:
        data = reader.read(reporting.REPORTS, name, limit=_LIMIT)
    return parse(data, subject=f"{reporting.REPORTS}/{name}")


def kept(store: Path) -> list[Timeline]:
    """The reports that a store keeps, oldest first; what is no report is passed over."""
    found = []
    with Reader(str(store)) as reader:
        for name in sorted(keeping.names(reader, reporting.REPORTS, most=_MOST_WORDS)):
            try:
                data = reader.read(reporting.REPORTS, name, limit=_LIMIT)
                found.append(parse(data, subject=name))
            except BootunionError:
                continue
    return found


def parse(data: bytes, *, subject: str) -> Timeline:
    """A report's bytes. Raises BootunionError json-invalid."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        text = "is no report of the agent"
        raise BootunionError("json-invalid", text, subject=subject) from None
    fields = Fields(document, code="json-invalid", subject=subject)
    began = fields.integer("started", 0, _BIG)
    ended = fields.integer("finished", began, _BIG)
    names = _names(fields)
    steps = _steps(fields, began, names)
    return Timeline(_facts(fields), began // 1000, (ended - began) // 1000, steps)


def _names(fields: Fields) -> list[str]:
    """The layers' names; schema 2 had none."""
    names = fields.take("layers", [])
    if not isinstance(names, list) or len(names) > MAX_INDEXED + 1:
        raise fields.wrong(f"is not a list of at most {MAX_INDEXED + 1}", "layers")
    return [str(name)[:256] for name in names]


def _steps(fields: Fields, began: int, names: list[str]) -> tuple[Step, ...]:
    steps: list[Step] = []
    attempt = 0
    for one in fields.objects("steps", _MOST_STEPS):
        name = one.text("name")
        attempt += name == "read-list"
        layer = one.take("layer")
        if layer is not None and (not isinstance(layer, int) or not 0 <= layer <= MAX_INDEXED):
            raise one.wrong("is no layer's position", "layer")
        start = one.integer("start", began, _BIG)
        end = one.integer("end", start, _BIG)
        steps.append(Step(name, layer, "", attempt, (start - began) // 1000, (end - start) // 1000))
    # The names are those of the list that was tried last.
    last = max((one.attempt for one in steps if one.layer is not None), default=0)
    return tuple(
        one._replace(package=names[one.layer])
        if one.layer is not None and one.layer < len(names) and one.attempt == last else one
        for one in steps
    )  # fmt: skip


def _facts(fields: Fields) -> dict[str, Any]:
    """What the report says besides the steps; what is missing is left empty."""
    system = fields.take("list", None)
    error = fields.take("error", None)
    return {
        "result": fields.text("result"), "number": fields.integer("number", 0, _BIG),
        "kernel": str(fields.take("kernel", "")), "bootunion": str(fields.take("bootunion", "")),
        "list": _flat(system) if isinstance(system, dict) else None,
        "overlay_layers_by": str(fields.take("overlay_layers_by", "")),
        "left_out": [str(one) for one in _list(fields.take("left_out", []))],
        "refused": [_flat(one) for one in _list(fields.take("refused", []))],
        "warnings": [_flat(one) for one in _list(fields.take("warnings", []))],
        "error": _flat(error) if isinstance(error, dict) else None,
        "action": str(fields.take("action", "")),
    }  # fmt: skip


def _list(value: object) -> Iterable[object]:
    return value[:_MOST_WORDS] if isinstance(value, list) else []


def _flat(value: object) -> dict[str, str | int]:
    """An object with text and whole numbers only."""
    if not isinstance(value, dict):
        return {}
    return {str(key): one if isinstance(one, int) else str(one) for key, one in value.items()}
