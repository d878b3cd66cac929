"""The plan as JSON: for programs, and for the HTML page. docs/plan.schema.json describes it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from bootunion import checks, plan
from bootunion.listdiff import Difference, Moved
from bootunion.systemlist import Layer, SystemList
from bootunion.text import encodable

from . import cost
from .planning import Preview, Row

SCHEMA = 1


def as_json(
    found: Preview, *, denied: Iterable[str] = (), difference: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The whole preview. `denied` are the kinds that were found and that nobody wants."""
    system, digest = found.system, found.digest
    return {
        "schema": SCHEMA,
        "list": {
            "name": system.name, "generation": system.generation, "floor": system.floor,
            "created": system.created, "expires": system.expires,
            "architecture": system.architecture, "kernel": system.kernel, "upper": system.upper,
            "namespace": system.namespace, "signers": list(found.signers),
            "source": found.source,
        },
        "boots": found.boots,
        "layers": [_layer(position, row) for position, row in enumerate(found.rows)],
        "contested": _contested(found),
        "pairs": pairs(found),
        "findings": [one._asdict() | {"path": encodable(one.path)} for one in found.findings],
        "refusals": [one.as_json() for one in found.refusals],
        "denied": list(denied),
        "cost": cost.of(found)._asdict(),
        "union": {
            "paths": len(found.merged.paths),
            "types": dict(sorted(Counter(
                entry.type for _, entry in found.merged.paths.values()).items())),
            "digest": digest,
            "matches_list": digest == system.namespace,
            "strategy": plan.union(system), "why": found.why, "index": _index(found),
            "by_file": found.by_file,
        },
        "diff": difference,
    }  # fmt: skip


def _index(found: Preview) -> dict[str, Any] | None:
    index, known = found.system.index_layer, found.index_known
    if index is None:
        return None
    return {
        "name": index.name, "size": index.image.size, "root_hash": index.image.root_hash,
        "present": known is not None and known.present, "problem": known.problem if known else "",
    }  # fmt: skip


def absolute(path: str) -> str:
    """A path of the namespace as it stands in JSON."""
    return "/" + encodable(path)


def _layer(position: int, row: Row) -> dict[str, Any]:
    layer, known = row.layer, row.known
    source = known.manifest.source._asdict() if known.manifest else None
    return {
        "position": position, "name": layer.name, "version": layer.version,
        "architecture": layer.architecture, "size": layer.image.size, "files": row.files,
        "paths": row.paths, "wins": row.wins, "loses": row.loses, "need": layer.need,
        "root_hash": layer.image.root_hash, "generated": row.generated,
        "verified": row.verified, "present": known.present, "problem": known.problem,
        "source": source,
    }  # fmt: skip


def _contested(found: Preview) -> list[dict[str, Any]]:
    system = found.system
    names = [layer.name for layer in system.layers]
    approved = {tuple(one) for one in system.shadowings}
    return [
        {"path": absolute(one.path),
         "winner": names[one.winner], "winner_position": one.winner,
         "loser": names[one.loser], "loser_position": one.loser,
         "kind": one.kind, "severity": checks.severity(one, system),
         "approved": (f"/{one.path}", names[one.winner], names[one.loser]) in approved}
        for one in found.merged.contested
    ]  # fmt: skip


def pairs(found: Preview) -> list[dict[str, Any]]:
    """The contested paths counted by pair of packages and kind, in the list's order."""
    kinds: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    for one in found.merged.contested:
        kinds[one.winner, one.loser][one.kind] += 1
    names = [layer.name for layer in found.system.layers]
    return [
        {"winner_position": winner, "loser_position": loser, "winner": names[winner],
         "loser": names[loser], "kinds": dict(sorted(counts.items()))}
        for (winner, loser), counts in sorted(kinds.items())
    ]  # fmt: skip


def difference_as_json(before: SystemList, after: SystemList, found: Difference) -> dict[str, Any]:
    """What changes between two lists."""
    return {
        "from": {"name": before.name, "generation": before.generation},
        "to": {"name": after.name, "generation": after.generation},
        "added": _named(found.added), "removed": _named(found.removed),
        "upgraded": _moved(found.upgraded, "from", "to"),
        "downgraded": _moved(found.downgraded, "from", "to"),
        "changed": _named(found.rebuilt),
        "reordered": _moved(found.reordered, "from_position", "to_position"),
        "paths": {
            "added": [absolute(path) for path in found.paths_added],
            "removed": [absolute(path) for path in found.paths_removed],
            "changed": [{"path": absolute(one.path), "what": list(one.what)}
                        for one in found.paths_changed],
        },
        "privileges": [{"path": absolute(one.path), "from": one.before, "to": one.after}
                       for one in found.privileges],
        "bytes_to_fetch": found.fetched,
    }  # fmt: skip


def _named(layers: Collection[Layer]) -> list[dict[str, str]]:
    return [{"name": layer.name, "version": layer.version} for layer in layers]


def _moved(found: Collection[Moved], before: str, after: str) -> list[dict[str, Any]]:
    return [{"name": one.name, before: one.before, after: one.after} for one in found]
