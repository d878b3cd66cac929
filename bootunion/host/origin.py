"""Where a path comes from: `plan --why` and `plan --tree`. Values first, then how they are shown.

Works on a preview; what a hidden layer has at the path is looked up in that layer's contents.
"""

from __future__ import annotations

import contextlib
import difflib
import stat
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from bootunion.contents import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK, Entry
from bootunion.errors import BootunionError
from bootunion.merge import Namespace
from bootunion.text import encodable, printable

from . import console, planjson
from .planning import Preview
from .store import Store

_KINDS = {
    DIRECTORY: stat.S_IFDIR, FILE: stat.S_IFREG, SYMLINK: stat.S_IFLNK,
    CHARACTER: stat.S_IFCHR, BLOCK: stat.S_IFBLK, FIFO: stat.S_IFIFO,
}  # fmt: skip

EntryOf = Callable[[int, str], Entry | None]
"""Looks a path up in a layer's contents."""


class Step(NamedTuple):
    """A path on the way to what was asked for, and the layer that gives it."""

    path: str
    layer: int
    entry: Entry


class Hidden(NamedTuple):
    """What `layer` has at the path and nobody sees."""

    layer: int
    kind: str
    entry: Entry | None


class Origin(NamedTuple):
    """The answer to "why is this here": the symlinks followed, the winner, what it hides."""

    asked: str
    links: tuple[Step, ...]
    winner: Step
    hidden: tuple[Hidden, ...]


def why(found: Preview, path: str, look: EntryOf) -> Origin:
    """Who gives `path`, and who is hidden below.

    Raises BootunionError path-missing when the root has no such path.
    """
    steps = _trace(found.merged, path)
    winner = steps[-1]
    hidden = tuple(
        Hidden(one.loser, one.kind, look(one.loser, winner.path))
        for one in found.merged.contested if one.path == winner.path
    )  # fmt: skip
    return Origin(path, tuple(steps[:-1]), winner, hidden)


def _trace(merged: Namespace, path: str) -> list[Step]:
    """Each symlink that is followed, then the end. The last component is followed, too.

    Raises BootunionError path-missing.
    """
    trail = merged.follow(path)
    if trail.found is None:
        if trail.stopped in merged.paths:
            raise BootunionError("path-missing", "leads in a circle of symlinks", subject=path)
        raise _missing(merged, path, trail.stopped)
    return [Step(one, *merged.paths[one]) for one in (*trail.links, trail.found)]


def _missing(merged: Namespace, asked: str, at: str) -> BootunionError:
    parent, _, name = at.rpartition("/")
    beside = [path.rpartition("/")[2] for path in merged.paths if path.rpartition("/")[0] == parent]
    near = difflib.get_close_matches(name, beside, 3)
    hint = f"; there is {', '.join(map(printable, near))}" if near else ""
    text = f"the root has no {printable(f'/{at}')}{hint}"
    return BootunionError("path-missing", text, subject=asked)


def tree(found: Preview, directory: str, depth: int) -> list[tuple[int, Step]]:
    """The entries below a directory to a depth, sorted as a tree, each with its depth from 1.

    Raises BootunionError path-missing when the root has no such directory.
    """
    *_, top = _trace(found.merged, directory)
    if top.entry.type != DIRECTORY:
        raise BootunionError("path-missing", "is not a directory", subject=directory)
    prefix = f"{top.path}/" if top.path else ""
    inside = []
    for path, (layer, entry) in found.merged.paths.items():
        if path and path.startswith(prefix) and path != top.path:
            level = path.count("/", len(prefix)) + 1
            if level <= depth:
                inside.append((level, Step(path, layer, entry)))
    return sorted(inside, key=lambda one: one[1].path.split("/"))


def _fields(found: Preview, layer: int, entry: Entry | None) -> dict[str, Any]:
    known = found.rows[layer]
    described = known.known.manifest
    return {
        "package": known.layer.name, "version": known.layer.version, "position": layer,
        "entry": _entry(entry) if entry else None,
        "source": described.source._asdict() if described else None,
    }  # fmt: skip


def _entry(entry: Entry) -> dict[str, Any]:
    texts = {key: encodable(value) if isinstance(value, str) else value
             for key, value in entry.as_json().items() if key != "path"}  # fmt: skip
    return {"path": planjson.absolute(entry.path), **texts}


def why_as_json(found: Preview, origin: Origin) -> dict[str, Any]:
    """The answer for programs."""
    return {
        "asked": encodable(origin.asked), "path": planjson.absolute(origin.winner.path),
        "links": [_fields(found, one.layer, one.entry) for one in origin.links],
        "winner": _fields(found, origin.winner.layer, origin.winner.entry),
        "hidden": [{"kind": one.kind, **_fields(found, one.layer, one.entry)}
                   for one in origin.hidden],
    }  # fmt: skip


def show_why(found: Preview, origin: Origin) -> None:
    """The answer for people."""
    for link in origin.links:
        console.show_line(f"{printable(f'/{link.path}')} → {printable(link.entry.target)}"
                          f"   ({_name(found, link.layer)})")  # fmt: skip
    winner = origin.winner
    console.show_line(f"{printable(f'/{winner.path}')}   {_summary(winner.entry)}")
    console.show_line(f"  given by   {_name(found, winner.layer)}, position {winner.layer}")
    described = found.rows[winner.layer].known.manifest
    if described is not None:
        source = described.source
        file = f"{source.file} " if source.file else ""
        console.show_line(f"  made from  {source.kind} {file}{source.sha256}")
    if winner.entry.digest:
        console.show_line(f"  SHA-256    {winner.entry.digest}")
    for one in origin.hidden:
        what = _summary(one.entry) if one.entry else "cannot be read"
        console.show_line(f"  hides      {_name(found, one.layer)}, position {one.layer}: "
                          f"{what} ({one.kind})")  # fmt: skip
    if not origin.hidden:
        console.show_line("  hides      nothing")


def tree_as_json(found: Preview, entries: Iterable[tuple[int, Step]]) -> list[dict[str, Any]]:
    """The tree for programs."""
    return [_fields(found, step.layer, step.entry) for _, step in entries]


def show_tree(found: Preview, entries: Iterable[tuple[int, Step]]) -> None:
    """The tree for people, with the origin of each entry."""
    rows = []
    for level, step in entries:
        entry = step.entry
        name = "  " * (level - 1) + printable(entry.path.rpartition("/")[2])
        if entry.type == SYMLINK:
            name += f" → {printable(entry.target)}"
        elif entry.type == DIRECTORY:
            name += "/"
        size = console.human_size(entry.size) if entry.type == FILE else ""
        rows.append([_mode(entry), f"{entry.uid}:{entry.gid}", size, name,
                     found.rows[step.layer].layer.name])  # fmt: skip
    console.show_table("", ["mode", "owner", "size", "name", "package"], rows, right=("size",))


def _name(found: Preview, layer: int) -> str:
    known = found.rows[layer].layer
    return f"{known.name} {known.version}"


def _mode(entry: Entry) -> str:
    return stat.filemode(entry.mode | _KINDS[entry.type])


def _summary(entry: Entry) -> str:
    size = f"  {entry.size} bytes" if entry.type == FILE else ""
    return f"{_mode(entry)}  {entry.uid}:{entry.gid}{size}"


def lookup(store: Store, found: Preview) -> EntryOf:
    """Looks paths up in the contents of a store's packages, one package at a time."""

    def look(layer: int, path: str) -> Entry | None:
        described = found.rows[layer].known.manifest
        if described is None:
            return None
        with contextlib.suppress(BootunionError):
            return next((one for one in store.entries(described) if one.path == path), None)
        return None

    return look
