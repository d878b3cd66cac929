"""`bootunion drift`: what the upper of a running root has added, changed or hidden, by package.

Only the upper is read: what a layer holds is known from its signed contents. Mounts over the root
are no part of the upper, so nothing in /proc, /run or /pkgs is drift.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bootunion import comparing, contents
from bootunion.contents import Entry
from bootunion.text import printable

from . import console, packaging, running
from .running import Running
from .upper import Upper

# From what cannot be had back without the package to what is no change at all.
REMOVED = "removed"  # a whiteout, or an opaque directory that does not have it
CONTENT = "content"  # other bytes, another link target, another type
METADATA = "metadata"  # the same content with another mode, owner or attribute
ADDED = "added"  # no package has the path
COPIED = "unchanged"  # copied up, and still what the package has
_OTHER_CONTENT = {
    comparing.TYPE, comparing.SIZE, comparing.CONTENT, comparing.TARGET, comparing.DEVICE,
}  # fmt: skip
CHANGES = (REMOVED, CONTENT, METADATA, ADDED, COPIED)


class Change(NamedTuple):
    """One path: `package` is whose it is ("" for nobody's), `what` says what differs.

    `below` counts the paths that went away with a removed directory.
    """

    path: str
    change: str
    package: str
    what: tuple[str, ...] = ()
    below: int = 0


def find(machine: Running, upper: Upper, step: Callable[[str], None]) -> list[Change]:
    """All changes, by package and path; nobody's come last."""
    found = list(_Finder(machine, upper).changes(step))
    return sorted(found, key=lambda one: (not one.package, one.package, one.path))


class _Finder:
    def __init__(self, machine: Running, upper: Upper) -> None:
        self._machine = machine
        self._upper = upper
        self._below = machine.merged.paths
        self._paths = running.Paths(machine.merged)
        self._homes = running.homes(machine)

    def changes(self, step: Callable[[str], None]) -> Iterator[Change]:
        seen: set[str] = set()
        opaque: list[str] = []
        for entry, is_opaque in self._upper.entries():
            step(entry.path)
            seen.add(entry.path)
            if is_opaque:
                opaque.append(entry.path)
            known = self._below.get(entry.path)
            if known is None:
                # A whiteout of what no layer has hides nothing.
                if not entry.is_whiteout:
                    yield Change(f"/{entry.path}", ADDED, self._home(entry.path))
            elif entry.is_whiteout:
                yield self._removed(entry.path)
            else:
                yield from self._compare(entry, known)
        for path in opaque:
            yield from self._hidden(path, seen)

    def _compare(self, entry: Entry, known: tuple[int, Entry]) -> Iterator[Change]:
        layer, listed = known
        what = tuple(one.what for one in comparing.differences(listed, entry))
        if not set(what) & _OTHER_CONTENT and entry.type == contents.FILE:
            digest = packaging.digest(self._upper.path(entry.path))
            what += () if digest == listed.digest else (comparing.CONTENT,)
        if entry.type == contents.DIRECTORY and not what:
            return  # it is there for what lies in it
        change = METADATA if what else COPIED
        if set(what) & _OTHER_CONTENT:
            change = CONTENT
        yield Change(f"/{entry.path}", change, self._package(layer), what)
        if comparing.TYPE in what and listed.type == contents.DIRECTORY:
            yield from self._hidden(entry.path, set())

    def _hidden(self, directory: str, seen: set[str]) -> Iterator[Change]:
        """What an opaque directory, or what is no directory any more, takes away."""
        gone = ""
        for path in self._paths.below(directory):
            if path in seen or (gone and path.startswith(f"{gone}/")):
                continue
            gone = path
            yield self._removed(path)

    def _removed(self, path: str) -> Change:
        layer, _ = self._below[path]
        count = len(self._paths.below(path))
        return Change(f"/{path}", REMOVED, self._package(layer), below=count)

    def _package(self, layer: int) -> str:
        return self._machine.layers[layer].name

    def _home(self, path: str) -> str:
        while path:
            path = path.rpartition("/")[0]
            if path in self._below:
                return self._package(self._homes[path]) if path in self._homes else ""
        return ""


def as_json(machine: Running, changes: list[Change]) -> dict[str, object]:
    """The drift for `--json`."""
    return {
        "schema": 1,
        "list": {"name": machine.system.name, "generation": machine.system.generation,
                 "upper": machine.system.upper},
        "counts": _counts(changes),
        "changes": [{**one._asdict(), "what": list(one.what)} for one in changes],
    }  # fmt: skip


def _counts(changes: list[Change]) -> dict[str, int]:
    counted = Counter(one.change for one in changes)
    return {change: counted[change] for change in CHANGES}


def show(machine: Running, changes: list[Change]) -> None:
    """A table, grouped by package; each package is named once on a terminal.

    An added directory stands for everything in it; `--json` has each path.
    """
    rows, before, inside = [], None, "\0"
    for one in changes:
        if one.change == ADDED and one.path.startswith(inside):
            continue
        below = one.below
        if one.change == ADDED:
            inside = f"{one.path}/"
            below = sum(other.path.startswith(inside) for other in changes)
        package = one.package or "(no package)"
        repeated = sys.stdout.isatty() and package == before
        what = ", ".join(one.what) or (f"and {below} below it" if below else "")
        rows.append(["" if repeated else package, one.change, printable(one.path), what])
        before = package
    if rows:
        console.show_table(machine.name, ["package", "change", "path", "what"], rows)
    counts = ", ".join(f"{count} {change}" for change, count in _counts(changes).items())
    packages = len({one.package for one in changes if one.package})
    print(f"{machine.name}: the upper differs from {packages} packages: {counts}")
