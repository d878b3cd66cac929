"""Which shadowings of a union a person has approved: `approve` in the system.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bootunion import merge
from bootunion.errors import BootunionError
from bootunion.merge import Contested, Namespace
from bootunion.systemlist import Shadowing

# What is the same needs no approval; what maintainer scripts take away has `allow-whiteouts`.
_NOT_APPROVED = (merge.SAME, merge.WHITEOUT, merge.OPAQUE)
_WILD = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


class Approval(NamedTuple):
    """That package `winner` may hide what `loser` has at `path`: relative, perhaps a pattern."""

    path: str
    winner: str
    loser: str


def shadowings(
    approvals: Sequence[Approval], merged: Namespace, names: Sequence[str]
) -> tuple[Shadowing, ...]:
    """Each contested pair that is approved, by path; `names` are the layers', top first."""
    wanted = [(one, _pattern(one.path)) for one in approvals]
    approved = (
        Shadowing(f"/{pair.path}", names[pair.winner], names[pair.loser])
        for pair in merged.contested
        if any(_is_meant(one, pattern, pair, names) for one, pattern in wanted)
    )
    return tuple(dict.fromkeys(approved))


def check(approvals: Iterable[Approval], merged: Namespace, names: Sequence[str]) -> None:
    """Refuse an approval of nothing: it would approve later what nobody has looked at.

    Raises BootunionError approval-unmatched.
    """
    for one in approvals:
        pattern = _pattern(one.path)
        if not any(_is_meant(one, pattern, pair, names) for pair in merged.contested):
            text = f"{one.winner} hides nothing of {one.loser} at /{one.path} that needs approval"
            raise BootunionError("approval-unmatched", text, subject=f"/{one.path}")


def _is_meant(
    one: Approval, pattern: re.Pattern[str], pair: Contested, names: Sequence[str]
) -> bool:
    return (
        (names[pair.winner], names[pair.loser]) == (one.winner, one.loser)
        and pair.kind not in _NOT_APPROVED
        and pattern.fullmatch(pair.path) is not None
    )


def _pattern(path: str) -> re.Pattern[str]:
    """`*` and `?` stay within a directory, `**` does not; brackets are themselves (/usr/bin/[)."""
    parts = re.split(r"(\*\*|\*|\?)", path)
    return re.compile("".join(_WILD.get(part) or re.escape(part) for part in parts), re.DOTALL)
