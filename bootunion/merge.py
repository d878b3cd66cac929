"""The merged namespace: which package gives each path, and what is hidden below.

It follows overlayfs (Documentation/filesystems/overlayfs.rst, "Upper and Lower" and "whiteouts and
opaque directories"; fs/overlayfs/namei.c, ovl_lookup): directories of several layers merge, the
topmost one giving mode, owner and attributes. Going down, the merging of a directory ends at the
first layer that has something else there, a whiteout, or made the directory opaque.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .contents import CHARACTER, DIRECTORY, FILE, SYMLINK, Entry

# What a shadowing does to the loser; a pair has the worst one that applies.
WHITEOUT = "whiteout"  # a whiteout of the winner takes the path away
OPAQUE = "opaque"  # an opaque directory of the winner hides it, or what is below it
DIRECTORY_OVER_SYMLINK = "directory-over-symlink"  # at /lib: what breaks merged /usr
TYPE = "type"  # another type, or something below what is no directory in the union
PRIVILEGE = "privilege"  # setuid, setgid or capabilities of a file gained, lost, or their owner
CONTENT = "content"  # other content of the same type
METADATA = "metadata"  # the same content with another mode, owner or attribute
SAME = "same"  # the same type, content and metadata: nothing is lost
KINDS = (WHITEOUT, OPAQUE, DIRECTORY_OVER_SYMLINK, TYPE, PRIVILEGE, CONTENT, METADATA, SAME)
"""Every kind of a contested path, worst first."""

MERGED_USR = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""What is a symlink into /usr at the top of a merged system."""

_OPAQUE = ("trusted.overlay.opaque", b"y".hex())
_OWN = "trusted.overlay."
_MARKING = (_OWN, "user.overlay.")
_CAPABILITY = "security.capability"
_PRIVILEGED = 0o6000  # setuid and setgid
_MAX_SYMLINKS = 40  # as the kernel's MAXSYMLINKS
_AT_ONCE = 4096  # paths of a digest that are text at the same time


class Contested(NamedTuple):
    """A path of layer `loser` that nobody sees, or whose directory has other metadata in the union.

    `winner` is the layer that gives the path. Where none does, or where the loser's directory does
    not merge, it is the layer that hides it: with a whiteout, an opaque directory or something that
    is no directory, there or further up. `winner` over `loser` alone would hide the path as well.
    Both are positions in the list, `kind` is one of `KINDS`. A whiteout never is a loser.
    """

    path: str
    winner: int
    loser: int
    kind: str


class Marker(NamedTuple):
    """A whiteout, or attributes that steer overlayfs, in `layer`; `losers` have the path below."""

    path: str
    layer: int
    losers: tuple[int, ...]


class Trail(NamedTuple):
    """Where a path leads: `found` is its real path, None where there is none.

    `stopped` is then the path that is not there, or the symlink that is one too many, and
    `missing` the same with what would have followed. `links` are the symlinks on the way.
    """

    found: str | None
    stopped: str = ""
    missing: str = ""
    links: tuple[str, ...] = ()


class Namespace(NamedTuple):
    """The merged namespace: path → (layer, entry); the contested paths and the markers, sorted."""

    paths: dict[str, tuple[int, Entry]]
    contested: tuple[Contested, ...]
    markers: tuple[Marker, ...] = ()

    def follow(self, path: str) -> Trail:
        """Follow symlinks inside the namespace, in every part of `path`, the last one included."""
        direct = self.paths.get(path)
        if direct is not None and direct[1].type != SYMLINK:
            return Trail(path)  # the namespace's own paths have no symlinks among their parents
        rest = path.split("/")[::-1]
        done = ""
        links: list[str] = []
        while rest:
            part = rest.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = done.rpartition("/")[0]
                continue
            here = f"{done}/{part}" if done else part
            at = self.paths.get(here)
            if at is not None and at[1].type != SYMLINK:
                done = here
                continue
            if at is None or len(links) == _MAX_SYMLINKS:
                return Trail(None, here, "/".join((here, *rest[::-1])), tuple(links))
            links.append(here)
            if at[1].target.startswith("/"):
                done = ""
            rest.extend(at[1].target.split("/")[::-1])
        return Trail(done, links=tuple(links))

    def digest(self, identities: Sequence[str]) -> str:
        """SHA-256 over each path with its winner's root hash (`identities[layer]`) and metadata.

        For each path, sorted by code points, a record of fields that end with NUL and a newline
        (docs/formats.md, "The digest of the merged namespace"). Modification times are left out:
        they are no part of what a path is to its users.
        """
        state = hashlib.sha256()
        paths = self.paths
        ordered = sorted(paths)
        for start in range(0, len(ordered), _AT_ONCE):
            some = ordered[start : start + _AT_ONCE]
            records = "".join(
                [_record(identities[paths[path][0]], paths[path][1]) for path in some]
            )
            state.update(records.encode("utf-8", "surrogatepass"))
        return state.hexdigest()


def _record(identity: str, entry: Entry) -> str:
    """One path for the digest. No field can hold a NUL: `contents.decode` sees to it."""
    path, kind, mode, uid, gid, _, size, digest, target, (major, minor), xattrs, *_ = entry
    more = "".join([f"{name}\0{value}\0" for name, value in xattrs]) if xattrs else ""
    return (
        f"{path}\0{identity}\0{kind}\0{mode:o}\0{uid}\0{gid}\0{size}\0{digest}\0{target}\0"
        f"{major}:{minor}\0{len(xattrs)}\0{more}\n"
    )


def merge(layers: Iterable[Iterable[Entry]]) -> Namespace:
    """Merge layers, top first, each with its entries sorted by path and its parents present.

    Raises ValueError for a path that stands twice in a layer.
    """
    merging = _Merging()
    for index, entries in enumerate(layers):
        merging.add(index, entries)
    return merging.result()


_Cause = tuple[int, str]  # the layer that hides, and the kind


class _Merging:
    """The union of the layers so far."""

    def __init__(self) -> None:
        self.paths: dict[str, tuple[int, Entry]] = {}
        # Directories of the union that layers further down no longer reach, and what ended them.
        self.closed: dict[str, _Cause] = {}
        self.whiteouts: set[str] = set()
        self.contested: list[Contested] = []
        self.marks: dict[str, list[tuple[int, list[int]]]] = {}

    def add(self, index: int, entries: Iterable[Entry]) -> None:
        """Put a layer below the others."""
        paths, marks = self.paths, self.marks
        hidden: dict[str, _Cause] = {}  # this layer's directories that nobody sees
        for entry in entries:
            path = entry.path
            winner = paths.get(path)
            # Most entries are new and nothing special: only this is asked of them.
            if entry.xattrs or entry.type == CHARACTER or path in marks:
                self._mark(index, entry)
            if hidden and path and (cause := hidden.get(path.rpartition("/")[0])) is not None:
                self._hide(index, entry, winner, cause)
                if entry.type == DIRECTORY:
                    hidden[path] = cause
            elif winner is None:
                paths[path] = (index, entry)
                if entry.xattrs:
                    self._close_opaque(index, entry)
            elif winner[0] == index:
                raise ValueError(f"{path!r} stands twice in layer {index}")
            elif entry.type == DIRECTORY:
                cause_here = self._directory(index, entry, winner)
                if cause_here is not None:
                    hidden[path] = cause_here
            else:
                self._lose(index, entry, winner)

    def _close_opaque(self, index: int, entry: Entry) -> None:
        # The root directories always merge: the kernel stacks them when it mounts, without a look
        # at this attribute (fs/overlayfs/super.c, ovl_get_root).
        if entry.type == DIRECTORY and entry.path and _OPAQUE in entry.xattrs:
            self.closed[entry.path] = (index, OPAQUE)

    def _hide(
        self, index: int, entry: Entry, winner: tuple[int, Entry] | None, cause: _Cause
    ) -> None:
        """Something of this layer in a directory that nobody sees."""
        if entry.is_whiteout:
            return
        layer, kind = cause
        # Two directories would merge, but for the cause.
        merging = winner is not None and winner[1].type == entry.type == DIRECTORY
        if winner is not None and winner[0] != layer and not merging:
            layer, kind = winner[0], kind_of(winner[1], entry)
        self.contested.append(Contested(entry.path, layer, index, kind))

    def _directory(self, index: int, entry: Entry, winner: tuple[int, Entry]) -> _Cause | None:
        """A directory where the union has something; gives what hides it."""
        above, given = winner
        cause: _Cause | None
        if given.type == DIRECTORY:
            cause = self.closed.get(entry.path)
            kind = cause[1] if cause else kind_of(given, entry)
            if cause is None:
                self._close_opaque(index, entry)
        else:
            kind = kind_of(given, entry)
            cause = (above, kind)
        if cause is not None or kind != SAME:
            by = cause[0] if cause else above
            self.contested.append(Contested(entry.path, by, index, kind))
        return cause

    def _lose(self, index: int, entry: Entry, winner: tuple[int, Entry]) -> None:
        """No directory, where the union has something."""
        above, given = winner
        if given.type == DIRECTORY and entry.path not in self.closed:
            self.closed[entry.path] = (index, WHITEOUT if entry.is_whiteout else TYPE)
        if not entry.is_whiteout:
            self.contested.append(Contested(entry.path, above, index, kind_of(given, entry)))

    def _mark(self, index: int, entry: Entry) -> None:
        for _, losers in self.marks.get(entry.path, ()):
            if not entry.is_whiteout:
                losers.append(index)
        if entry.is_whiteout:
            self.whiteouts.add(entry.path)
        if entry.is_whiteout or any(name.startswith(_MARKING) for name, _ in entry.xattrs):
            self.marks.setdefault(entry.path, []).append((index, []))

    def result(self) -> Namespace:
        """The namespace: the whiteouts have done their work and are no part of it."""
        for path in self.whiteouts:
            if path in self.paths and self.paths[path][1].is_whiteout:
                del self.paths[path]
        markers = sorted(
            Marker(path, layer, tuple(losers))
            for path, found in self.marks.items()
            for layer, losers in found
        )
        return Namespace(self.paths, tuple(sorted(self.contested)), tuple(markers))


def kind_of(winner: Entry, loser: Entry) -> str:
    """What it means that `winner` stands where `loser` would: one of `KINDS`, never `OPAQUE`."""
    if winner.is_whiteout:
        return WHITEOUT
    if winner.type != loser.type:
        over_symlink = winner.type == DIRECTORY and loser.type == SYMLINK
        return DIRECTORY_OVER_SYMLINK if over_symlink else TYPE
    if winner.type == FILE and privileges(winner) != privileges(loser):
        return PRIVILEGE
    if (winner.digest, winner.target, winner.device) != (loser.digest, loser.target, loser.device):
        return CONTENT
    same = (winner.mode, winner.uid, winner.gid) == (loser.mode, loser.uid, loser.gid)
    # A symlink's mode means nothing on Linux.
    if not same and (winner.type != SYMLINK or winner[3:5] != loser[3:5]):
        return METADATA
    return SAME if shown_xattrs(winner) == shown_xattrs(loser) else METADATA


def privileges(entry: Entry) -> tuple[object, ...]:
    """What a file lets whoever runs it do: its setuid and setgid bits, capabilities and owner.

    Empty for a file that lends nothing. On a directory the bits mean something else.
    """
    capability = dict(entry.xattrs).get(_CAPABILITY, "") if entry.xattrs else ""
    bits = entry.mode & _PRIVILEGED
    if entry.type != FILE or not (bits or capability):
        return ()
    return (bits, capability, entry.uid, entry.gid)


def shown_xattrs(entry: Entry) -> tuple[tuple[str, str], ...]:
    """The attributes that the union shows: overlayfs keeps those that steer it to itself."""
    if not entry.xattrs:
        return ()
    return tuple(one for one in entry.xattrs if not one[0].startswith(_OWN))
