"""What changes between two lists, in packages and in what the root serves: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from . import versions
from .contents import Entry
from .merge import Namespace
from .systemlist import Layer, SystemList

_SPECIAL = 0o6000  # setuid and setgid
_CAPABILITY = "security.capability"
_FIELDS = ("type", "mode", "uid", "gid", "size", "digest", "target", "device", "xattrs")
_SHOWN = {"uid": "owner", "gid": "group", "digest": "content"}


class Moved(NamedTuple):
    """A package that is in both lists: what it was (`before`) and is (`after`)."""

    name: str
    before: str | int
    after: str | int


class Changed(NamedTuple):
    """A path of both roots that differs in the fields `what`."""

    path: str
    what: tuple[str, ...]


class Privilege(NamedTuple):
    """A path whose setuid, setgid or capabilities change; "" where there is none."""

    path: str
    before: str
    after: str


class Difference(NamedTuple):
    """All that changes from one list to another; `fetched` is bytes of packages not in the first.

    `rebuilt` are packages of the same version with another root hash, `reordered` those that
    stand elsewhere among the packages that both lists have (positions are those in the lists).
    """

    added: tuple[Layer, ...]
    removed: tuple[Layer, ...]
    upgraded: tuple[Moved, ...]
    downgraded: tuple[Moved, ...]
    rebuilt: tuple[Layer, ...]
    reordered: tuple[Moved, ...]
    paths_added: tuple[str, ...]
    paths_removed: tuple[str, ...]
    paths_changed: tuple[Changed, ...]
    privileges: tuple[Privilege, ...]
    fetched: int


def compare(
    before: SystemList, after: SystemList, first: Namespace, second: Namespace
) -> Difference:
    """What changes from `before`, whose root is `first`, to `after`, whose root is `second`."""
    old, new = _by_name(before.layers), _by_name(after.layers)
    both = [(old[name][1], new[name][1]) for name in new if name in old]
    signs = [(was, now, versions.compare(was.version, now.version)) for was, now in both]
    known = {layer.image.root_hash for layer in before.layers}
    return Difference(
        added=tuple(new[name][1] for name in sorted(set(new) - set(old))),
        removed=tuple(old[name][1] for name in sorted(set(old) - set(new))),
        upgraded=_moved((was, now) for was, now, sign in signs if sign < 0),
        downgraded=_moved((was, now) for was, now, sign in signs if sign > 0),
        rebuilt=tuple(now for was, now, sign in signs
                      if not sign and was.image.root_hash != now.image.root_hash),
        reordered=_reordered(old, new),
        **_paths(first, second),  # type: ignore[arg-type]
        privileges=_privileges(first, second),
        fetched=sum(one.image.size for one in after.layers if one.image.root_hash not in known),
    )  # fmt: skip


def _by_name(layers: Sequence[Layer]) -> dict[str, tuple[int, Layer]]:
    """Each package with its position. Several of one name are told apart by their number."""
    found: dict[str, tuple[int, Layer]] = {}
    for position, layer in enumerate(layers):
        name, count = layer.name, 1
        while name in found:
            count += 1
            name = f"{layer.name} #{count}"
        found[name] = (position, layer)
    return found


def _moved(pairs: object) -> tuple[Moved, ...]:
    return tuple(
        sorted(Moved(now.name, was.version, now.version) for was, now in pairs)  # type: ignore[attr-defined]
    )


def _reordered(
    old: dict[str, tuple[int, Layer]], new: dict[str, tuple[int, Layer]]
) -> tuple[Moved, ...]:
    """The fewest packages whose moving turns one order into the other."""
    names = [name for name in new if name in old]
    kept = _longest_ascending([old[name][0] for name in names])
    return tuple(
        Moved(name, old[name][0], new[name][0])
        for index, name in enumerate(names) if index not in kept
    )  # fmt: skip


def _longest_ascending(numbers: Sequence[int]) -> set[int]:
    """The indexes of a longest ascending subsequence (patience sorting)."""
    ends: list[int] = []  # of the best subsequence of each length, its last index
    before: list[int] = [-1] * len(numbers)
    for index, number in enumerate(numbers):
        low, high = 0, len(ends)
        while low < high:
            middle = (low + high) // 2
            if numbers[ends[middle]] < number:
                low = middle + 1
            else:
                high = middle
        before[index] = ends[low - 1] if low else -1
        ends[low : low + 1] = [index]
    found: set[int] = set()
    index = ends[-1] if ends else -1
    while index >= 0:
        found.add(index)
        index = before[index]
    return found


def _paths(first: Namespace, second: Namespace) -> dict[str, tuple[object, ...]]:
    changed = []
    for path in sorted(first.paths.keys() & second.paths.keys()):
        was, now = first.paths[path][1], second.paths[path][1]
        if was is not now and (what := _what(was, now)):
            changed.append(Changed(path, what))
    return {
        "paths_added": tuple(sorted(second.paths.keys() - first.paths.keys())),
        "paths_removed": tuple(sorted(first.paths.keys() - second.paths.keys())),
        "paths_changed": tuple(changed),
    }


def _what(was: Entry, now: Entry) -> tuple[str, ...]:
    # Modification times are no part of what a path is, as in the namespace's digest.
    differing = (name for name in _FIELDS if getattr(was, name) != getattr(now, name))
    return tuple(_SHOWN.get(name, name) for name in differing)


def _privileges(first: Namespace, second: Namespace) -> tuple[Privilege, ...]:
    was, now = _privileged(first), _privileged(second)
    return tuple(
        Privilege(path, was.get(path, ""), now.get(path, ""))
        for path in sorted(was.keys() | now.keys()) if was.get(path) != now.get(path)
    )  # fmt: skip


def _privileged(merged: Namespace) -> dict[str, str]:
    return {
        path: text for path, (_, entry) in merged.paths.items()
        if (entry.mode & _SPECIAL or entry.xattrs) and (text := privilege(entry))
    }  # fmt: skip


def privilege(entry: Entry) -> str:
    """What running a file of this entry gives, in words: "setuid 0, capability 0100…", or ""."""
    if entry.type != "file":
        return ""
    words = []
    if entry.mode & 0o4000:
        words.append(f"setuid {entry.uid}")
    if entry.mode & 0o2000:
        words.append(f"setgid {entry.gid}")
    words += [f"capability {value}" for name, value in entry.xattrs if name == _CAPABILITY]
    return ", ".join(words)
