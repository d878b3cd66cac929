"""What would make the boot of a merged namespace fail, or surprise: pure, from contents alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from .. import merge
from ..manifest import Manifest
from ..merge import Contested, Namespace
from ..systemlist import SystemList
from . import dependencies, entry, kernel, limits, linking, links, shadowing
from .finding import CHECKS, FATAL, INFO, SEVERITIES, WARNING, Check, Finding, doubted
from .root import Root
from .shadowing import Judge

__all__ = [
    "CHECKS",
    "FATAL",
    "INFO",
    "KINDS",
    "WARNING",
    "Check",
    "Finding",
    "Judge",
    "check",
    "denied",
    "severity",
]

KINDS = (*merge.KINDS, *CHECKS)
"""What `--deny` takes: the kinds of contested paths, worst first, and the codes of findings."""


def check(
    system: SystemList, merged: Namespace, manifests: Sequence[Manifest | None], *,
    composed: bool = True,
) -> tuple[Finding, ...]:  # fmt: skip
    """Everything that manifests and contents tell about booting `system`, worst first.

    `manifests` are in the list's order, None for one that could not be read: then what seems to be
    missing is only noted, for that package may have it. Where the list is not `composed` yet, what
    maintainer scripts write is not held against it.
    """
    root = Root(system, merged, manifests)
    every = (
        *entry.check(root),
        *kernel.check(root, composed=composed),
        *linking.check(root, composed=composed),
        *links.check(root, composed=composed),
        *dependencies.check(root),
        *shadowing.check(root),
        *limits.check(root),
    )
    unknown = [name for name, one in zip(root.names, manifests, strict=True) if one is None]
    judged = (doubted(one, unknown) for one in every)
    order = {name: place for place, name in enumerate(SEVERITIES)}
    return tuple(sorted(judged, key=lambda one: (order[one.severity], *one[1:])))


def severity(contested: Contested, system: SystemList) -> str:
    """The severity of one contested pair."""
    # Asked for each of many pairs of one list: the last judge is kept.
    if not (_judges and _judges[0].system is system):
        _judges[:] = [Judge(system)]
    return _judges[0].severity(contested)


_judges: list[Judge] = []


def denied(
    findings: Iterable[Finding], merged: Namespace, system: SystemList, kinds: Collection[str]
) -> tuple[str, ...]:
    """Those of `kinds` that were found, in the order of `KINDS`.

    A contested pair that the list approves, or that the generated layer wins, is not held against
    it. Raises ValueError for what is none of `KINDS`.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no kind and no code")
    there = {one.code for one in findings}
    judge = Judge(system)
    wanted = set(kinds)
    for one in merged.contested:
        if one.kind in wanted and one.kind not in there and not judge.expected(one):
            there.add(one.kind)
    return tuple(kind for kind in KINDS if kind in wanted & there)
