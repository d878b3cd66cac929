"""What the tests of the union share: layers made at random, as directories and as entries."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st
from importing import CAPABILITY

from bootunion import comparing, contents, merge
from bootunion.contents import Entry
from bootunion.host import walking
from bootunion.merge import Namespace

# Few names, so that layers clash; "a-b" and "a0" stand on both sides of what is in "a".
_NAMES = ("a", "b")
_PATHS = (
    *(f"{one}" for one in (*_NAMES, "a-b", "a0")),
    *(f"{one}/{two}" for one in _NAMES for two in _NAMES),
    *(f"{one}/{two}/{three}" for one in _NAMES for two in _NAMES for three in _NAMES),
    "a-b/a", "a/b/a/b", "a/a/a/a",
)  # fmt: skip
_KINDS = (
    "directory", "directory", "directory", "opaque", "file", "file", "same", "setuid", "capable",
    "not-opaque", "symlink", "same-symlink", "whiteout", "whiteout", "fifo", "null", "block",
    "marked",
)  # fmt: skip
OPAQUE = "trusted.overlay.opaque"
_OPAQUE = (OPAQUE, b"y".hex())


class Node(NamedTuple):
    """What stands at a path of a layer."""

    kind: str
    mode: int
    owner: int


NODES = st.builds(
    Node, st.sampled_from(_KINDS), st.sampled_from((0o755, 0o755, 0o644, 0o700, 0o2750, 0o1777)),
    st.sampled_from((0, 0, 0, 1, 65534)),
)  # fmt: skip


def layer_of(items: Sequence[tuple[str, Node]], root: Node) -> dict[str, Node]:
    """A tree of what fits: what would lie below something else than a directory is left out."""
    tree = {"": root._replace(kind="opaque" if root.kind == "opaque" else "directory")}
    for path, node in items:
        parents = [path[:at] for at, char in enumerate(path) if char == "/"]
        wrong = [one for one in parents if one in tree and not is_directory(tree[one])]
        if wrong or path in tree:
            continue
        for parent in parents:
            tree.setdefault(parent, Node("directory", 0o755, 0))
        tree[path] = node
    return tree


LAYERS = st.lists(
    st.builds(layer_of, st.lists(st.tuples(st.sampled_from(_PATHS), NODES), max_size=9), NODES),
    min_size=2, max_size=4,
)  # fmt: skip
"""Two to four layers, top first."""


def is_directory(node: Node) -> bool:
    return node.kind in ("directory", "opaque", "not-opaque")


def probe(layer: int) -> str:
    """A file that a layer has in each of its directories: where it shows, that one merges."""
    return f".{layer}"


def entries_of(number: int, tree: dict[str, Node]) -> list[Entry]:
    """A layer's entries, sorted; each has a time of its own, which tells the layer and the path."""
    made = {path: _entry(number, path, node) for path, node in tree.items()}
    for path, node in tree.items():
        if is_directory(node):
            name = f"{path}/{probe(number)}".lstrip("/")
            made[name] = _entry(number, name, Node("file", 0o644, 0))
    ordered = [made[path] for path in sorted(made)]
    return [one._replace(mtime=1000 * number + at + 1) for at, one in enumerate(ordered)]


def _entry(number: int, path: str, node: Node) -> Entry:  # noqa: PLR0911
    entry = Entry(path, contents.FILE, node.mode, node.owner, node.owner)
    name = node.kind
    if is_directory(node):
        # "x" says to Linux 6.7 and later that files with another attribute are whiteouts.
        value = {"opaque": b"y", "not-opaque": b"x"}.get(name)
        xattrs = ((OPAQUE, value.hex()),) if value else ()
        return entry._replace(type=contents.DIRECTORY, xattrs=xattrs)
    if name in ("symlink", "same-symlink"):
        target = "b" if name == "same-symlink" else f"{number}/{path}"
        return entry._replace(type=contents.SYMLINK, mode=0o777, target=target)
    if name in ("whiteout", "null", "block", "fifo"):
        kind = {"block": contents.BLOCK, "fifo": contents.FIFO}.get(name, contents.CHARACTER)
        device = {"null": (1, 3), "block": (7, number)}.get(name, (0, 0))
        return entry._replace(type=kind, device=device)
    data = content_of(number, path, name)
    entry = entry._replace(size=len(data), digest=hashlib.sha256(data).hexdigest())
    if name == "setuid":
        return entry._replace(mode=entry.mode | 0o4000)
    if name == "capable":
        return entry._replace(xattrs=(("security.capability", CAPABILITY.hex()),))
    if name == "marked":
        # Neither steers a union that is not made for users; one looks as if it would.
        marks = (("trusted.x", "00ff"), ("user.overlay.opaque", b"y".hex()))
        return entry._replace(xattrs=marks)
    return entry


def content_of(number: int, path: str, kind: str) -> bytes:
    return b"same" if kind == "same" else f"{number}:{path}".encode()


def create(where: Path, number: int, tree: dict[str, Node], entries: Sequence[Entry]) -> None:
    """Make a layer's directory."""
    for entry in entries:
        path = where / entry.path
        kind = tree[entry.path].kind if entry.path in tree else "file"
        if entry.type == contents.DIRECTORY:
            path.mkdir(exist_ok=True)
        elif entry.type == contents.SYMLINK:
            path.symlink_to(entry.target)
        elif entry.type == contents.FILE:
            path.write_bytes(content_of(number, entry.path, kind))
        else:
            form = {contents.FIFO: stat.S_IFIFO, contents.BLOCK: stat.S_IFBLK}
            node = form.get(entry.type, stat.S_IFCHR)
            os.mknod(path, node | 0o600, os.makedev(*entry.device))
    for entry in reversed(entries):  # the times of directories last
        path = where / entry.path
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        if entry.type != contents.SYMLINK:
            path.chmod(entry.mode)
        for name, value in entry.xattrs:
            os.setxattr(path, name, bytes.fromhex(value), follow_symlinks=False)
        os.utime(path, (entry.mtime, entry.mtime), follow_symlinks=False)


def check_served(merged: Namespace, root: Path) -> set[str]:
    """The union at `root` is `merged`, path by path, with its winners; gives the paths."""
    walked = [one for one in walking.walk(root) if isinstance(one, Entry)]
    assert list(comparing.compare(merged.paths, walking.walk(root))) == []
    found = {one.path: one.mtime for one in walked}
    assert found == {path: entry.mtime for path, (_, entry) in merged.paths.items()}
    return set(found)


def check_contested(merged: Namespace, layers: Sequence[list[Entry]], served: set[str]) -> None:
    """Each path that is not served is contested, and nothing else; the winner is what hides it."""
    found = {(one.loser, one.path): one for one in merged.contested}
    assert len(found) == len(merged.contested)
    for number, entries in enumerate(layers):
        for entry in entries:
            one = found.pop((number, entry.path), None)
            if _is_lost(merged, number, entry, served):
                assert one is not None, (number, entry)
                _check_winner(one, entry, layers)
            else:
                assert one is None, one
    assert not found


def _is_lost(merged: Namespace, number: int, entry: Entry, served: set[str]) -> bool:
    if entry.is_whiteout:
        return False
    given = merged.paths.get(entry.path)
    if given is not None and given[0] == number:
        return False
    probed = f"{entry.path}/{probe(number)}".lstrip("/") in served
    if entry.type == contents.DIRECTORY and probed:
        assert given is not None
        return merge.kind_of(given[1], entry) != merge.SAME
    return True


def _check_winner(one: merge.Contested, entry: Entry, layers: Sequence[list[Entry]]) -> None:
    above = {each.path: each for each in layers[one.winner]}
    assert one.winner < one.loser
    alone = merge.merge([layers[one.winner], layers[one.loser]])
    assert entry.path in {each.path for each in alone.contested}
    there = list(_up(entry.path))
    if one.kind == merge.OPAQUE:
        assert any(_OPAQUE in above[path].xattrs for path in there if path and path in above)
        return
    nearest = next(above[path] for path in there if path in above)
    if nearest.path == entry.path:
        assert one.kind == merge.kind_of(nearest, entry)
    else:
        assert nearest.type != contents.DIRECTORY
        assert one.kind == (merge.WHITEOUT if nearest.is_whiteout else merge.TYPE)


def _up(path: str) -> Iterator[str]:
    """A path and its parents."""
    yield path
    while path:
        path = path.rpartition("/")[0]
        yield path
