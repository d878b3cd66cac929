"""The merged namespace: which package gives each path, and what is hidden below.

It follows overlayfs (Documentation/filesystems/overlayfs.rst, "Upper and Lower"): directories of
several layers merge, the topmost one giving mode and owner; anything else hides all below it, and
a path that is no directory ends the merging for the layers underneath.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .contents import DIRECTORY, SYMLINK, Entry

# What a shadowing does to the loser, from harmless to what breaks a root.
SAME = "same"  # the same type, content and metadata: nothing is lost
METADATA = "metadata"  # the same content with another mode, owner or attribute
CONTENT = "content"  # other content of the same type
TYPE = "type"  # another type, such as a directory over a symlink

_OPAQUE = ("trusted.overlay.opaque", b"y".hex())
_MARKING = ("trusted.overlay.", "user.overlay.")
_MAX_SYMLINKS = 40  # as the kernel's MAXSYMLINKS


class Contested(NamedTuple):
    """A path that several layers have: `winner` and `loser` are positions in the list."""

    path: str
    winner: int
    loser: int
    kind: str


class Marker(NamedTuple):
    """A whiteout, or attributes that steer overlayfs, in `layer`; `losers` have the path below."""

    path: str
    layer: int
    losers: tuple[int, ...]


class Namespace(NamedTuple):
    """The merged namespace: path → (layer, entry); the contested paths and the markers, sorted."""

    paths: dict[str, tuple[int, Entry]]
    contested: tuple[Contested, ...]
    markers: tuple[Marker, ...] = ()

    def resolve(self, path: str) -> tuple[int, Entry] | None:
        """What an absolute `path` leads to, symlinks followed inside the namespace."""
        rest = [part for part in path.split("/") if part]
        done: list[str] = []
        budget = _MAX_SYMLINKS
        while rest:
            part = rest.pop(0)
            if part == "..":
                done = done[:-1]
                continue
            found = self.paths.get("/".join([*done, part]))
            if found is None:
                return None
            if found[1].type == SYMLINK:
                budget -= 1
                if budget < 0:
                    return None
                target = found[1].target
                done = [] if target.startswith("/") else done
                rest = [step for step in target.split("/") if step not in ("", ".")] + rest
                continue
            done.append(part)
        return self.paths.get("/".join(done))

    def digest(self, identities: Sequence[str]) -> str:
        """SHA-256 over each path with its winner's root hash (`identities[layer]`) and metadata.

        Modification times are left out: they are no part of what a path is to its users.
        """
        state = hashlib.sha256()
        for path in sorted(self.paths):
            layer, entry = self.paths[path]
            fields = entry._replace(mtime=0, hard_link="").as_json()
            line = json.dumps([identities[layer], fields], sort_keys=True, separators=(",", ":"))
            state.update(line.encode() + b"\n")
        return state.hexdigest()


def merge(layers: Iterable[Iterable[Entry]]) -> Namespace:
    """Merge layers, top first, each with its entries sorted by path and its parents present."""
    paths: dict[str, tuple[int, Entry]] = {}
    closed: set[str] = set()  # directories that layers further down no longer reach
    contested: list[Contested] = []
    marks: dict[str, list[tuple[int, list[int]]]] = {}
    for index, entries in enumerate(layers):
        hidden: set[str] = set()  # this layer's directories that nobody sees
        for entry in entries:
            path = entry.path
            _mark(marks, index, entry)
            winner = paths.get(path)
            if path.rpartition("/")[0] in hidden and path:
                if entry.type == DIRECTORY:
                    hidden.add(path)
                elif winner is not None:
                    contested.append(Contested(path, winner[0], index, _kind(winner[1], entry)))
                continue
            if winner is None:
                paths[path] = (index, entry)
                if _OPAQUE in entry.xattrs:
                    closed.add(path)
                continue
            merges = winner[1].type == entry.type == DIRECTORY and path not in closed
            if merges and winner[0] == index:
                raise ValueError(f"{path!r} stands twice in layer {index}")
            if merges and _OPAQUE in entry.xattrs:
                closed.add(path)
            if not merges:
                (hidden if entry.type == DIRECTORY else closed).add(path)
            kind = _kind(winner[1], entry)
            if kind != SAME or entry.type != DIRECTORY:
                contested.append(Contested(path, winner[0], index, kind))
        # A directory that this layer made opaque is closed only to the layers below it, and no
        # entry of this layer was refused by it: a parent always comes before its children and
        # children look at `hidden`, not at `closed`.
    visible = {path: found for path, found in paths.items() if not found[1].is_whiteout}
    markers = sorted(
        Marker(path, layer, tuple(losers))
        for path, found in marks.items()
        for layer, losers in found
    )
    return Namespace(visible, tuple(sorted(contested)), tuple(markers))


def _mark(marks: dict[str, list[tuple[int, list[int]]]], index: int, entry: Entry) -> None:
    for _, losers in marks.get(entry.path, ()):
        if not entry.is_whiteout:
            losers.append(index)
    if entry.is_whiteout or any(name.startswith(_MARKING) for name, _ in entry.xattrs):
        marks.setdefault(entry.path, []).append((index, []))


def _kind(winner: Entry, loser: Entry) -> str:
    if winner.type != loser.type:
        return TYPE
    if (winner.digest, winner.target, winner.device) != (loser.digest, loser.target, loser.device):
        return CONTENT
    same = (winner.mode, winner.uid, winner.gid, winner.xattrs) == (
        loser.mode,
        loser.uid,
        loser.gid,
        loser.xattrs,
    )
    # A symlink's mode means nothing on Linux.
    return SAME if same or winner.type == SYMLINK else METADATA
