"""What packages hide of each other, and how bad that is."""

from __future__ import annotations

from collections.abc import Iterator

from .. import merge
from ..contents import DIRECTORY
from ..merge import Contested, Marker
from ..systemlist import SystemList, generated_name
from .finding import FATAL, INFO, WARNING, Finding, and_more, found
from .root import Root

_MARKERS = (merge.WHITEOUT, merge.OPAQUE)


class Judge:
    """How bad each contested pair of one list is."""

    def __init__(self, system: SystemList) -> None:
        self.system = system
        self._names = [layer.name for layer in system.layers]
        self._approved = {(one.path, one.winner, one.loser) for one in system.shadowings}
        self._generated = generated_name(system.name)

    def approved(self, one: Contested) -> bool:
        """Whether the signed list has the pair; for what a marker hides, also by a parent."""
        if not self._approved:
            return False
        winner, loser, path = self._names[one.winner], self._names[one.loser], f"/{one.path}"
        while path:
            if (path, winner, loser) in self._approved:
                return True
            if one.kind not in _MARKERS:
                return False
            path = path.rpartition("/")[0]
        return False

    def expected(self, one: Contested) -> bool:
        """Whether the pair is approved, or the generated layer wins, which is there to win."""
        generated = self._names[one.winner] == self._generated and one.kind not in _MARKERS
        return generated or self.approved(one)

    def severity(self, one: Contested) -> str:
        """The severity of a contested pair."""
        if one.kind == merge.DIRECTORY_OVER_SYMLINK and one.path in merge.MERGED_USR:
            return FATAL
        if one.kind == merge.SAME or self.expected(one):
            return INFO
        return FATAL if one.kind in _MARKERS else WARNING


def check(root: Root) -> Iterator[Finding]:
    """Findings about shadowing; a pair of packages has one for each kind."""
    yield from _merged_usr(root)
    for marker in root.merged.markers:
        yield from _marker(marker, root)
    judge = Judge(root.system)
    groups: dict[tuple[int, int, str], list[str]] = {}
    for one in root.merged.contested:
        # Markers and merged /usr have codes of their own.
        if judge.severity(one) == WARNING:
            groups.setdefault((one.winner, one.loser, one.kind), []).append(one.path)
    for (above, below, kind), paths in groups.items():
        winner, loser = root.names[above], root.names[below]
        more = and_more(len(paths) - 1, "paths of it")
        text = f"{winner} hides what {loser} has at /{paths[0]}{more}: {_DIFFERENCE[kind]}"
        way_out = (
            f"Leave out {winner} or {loser}, swap them, or approve it: `approve` in the "
            f"system.yaml with winner {winner} and loser {loser}."
        )
        yield found("shadowed", paths[0], winner, text, way_out=way_out)


_DIFFERENCE = {
    merge.DIRECTORY_OVER_SYMLINK: "a directory instead of a symlink",
    merge.TYPE: "another type of file",
    merge.PRIVILEGE: "other rights (setuid, setgid, capabilities or their owner)",
    merge.CONTENT: "other content",
    merge.METADATA: "another mode, owner or attribute",
}


def _merged_usr(root: Root) -> Iterator[Finding]:
    for path in merge.MERGED_USR:
        at, real = root.paths.get(path), root.paths.get(f"usr/{path}")
        if real is None or real[1].type != DIRECTORY:
            continue
        if at is None:
            package = root.names[real[0]]
            text = f"{package} has /usr/{path}, and no package has the symlink /{path} to it"
            yield found("merged-usr-missing", path, package, text)
        elif at[1].type == DIRECTORY:
            package = root.names[at[0]]
            text = f"{package} has a real directory /{path}, which hides the symlink to /usr/{path}"
            yield found("merged-usr", path, package, text)


def _marker(one: Marker, root: Root) -> Iterator[Finding]:
    """A marker hides files without having any: only what the signed list declares may do that."""
    winner = root.names[one.layer]
    declared = {(each.path, each.winner, each.loser) for each in root.system.shadowings}
    losers = [root.names[loser] for loser in one.losers]
    undeclared = [loser for loser in losers if (f"/{one.path}", winner, loser) not in declared]
    if losers and not undeclared:
        return
    what = f"what {undeclared[0]} has there" if undeclared else "nothing"
    text = (
        f"{winner} has a marker at /{one.path} that hides {what}, and the list does not declare it"
    )
    yield found("overlay-marker", one.path, winner, text)
