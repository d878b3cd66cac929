"""`bootunion check-root`: whether the running root is, below its upper, what its signed list says.

The root is walked as programs see it, but without what is mounted over it, and every path that the
upper neither gives nor hides is compared with the merged namespace: type, mode, owner, attributes,
target, device, size and content. What the upper gives or hides is looked at in a second union of
the same file systems without the upper. Why it is done so: docs/running.md.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import NamedTuple

from bootunion import comparing, contents, plan
from bootunion.comparing import Difference, Unseen
from bootunion.contents import Entry
from bootunion.errors import BootunionError
from bootunion.merge import Namespace
from bootunion.systemlist import Layer
from bootunion.text import printable

from . import checkroot_layers, console, namespace, running, walking
from .running import Running
from .upper import Given, Upper

# Differences beside those of `comparing`.
COVERED = "covered"  # something is mounted over what a package gives
OTHER_LAYER = "other-layer"  # another layer than the list says gives the path
CORRUPTED = "corrupted"  # dm-verity met a bad block of the package since the boot

# Where every system mounts something, whatever packages have there. machine-id(5): systemd mounts
# one over /etc/machine-id of a read-only root.
MOUNT_POINTS = ("dev", "proc", "run", "sys", "tmp", plan.STORE_MOUNT_POINT.lstrip("/"),
                "etc/machine-id")  # fmt: skip
_STEP = 256  # paths
_INODE_BITS = 32  # of squashfs and EROFS; xino's number of the layer stands above them
_Mark = tuple[int, int]  # device, upper bits of the inode's number: the layer
_SHOWN = 20  # differences for people; JSON has them all


class Places(NamedTuple):
    """Where the parts of a running machine are."""

    store: Path
    root: Path = Path("/")
    run: Path = Path("/run")


class Wanted(NamedTuple):
    """What is asked for: reading the content, and mount points (relative) that are meant."""

    content: bool = True
    mounts: tuple[str, ...] = ()


class Seen(NamedTuple):
    """What a look at the root found: counts, the digest of what is there, the differences.

    `read` is the bytes of the files whose content was compared, `upper` the number of paths that
    were looked at below the upper.
    """

    paths: int
    upper: int
    read: int
    digest: str
    differences: tuple[Difference, ...]


def check(
    machine: Running, upper: Upper, devices: Mapping[int, str], places: Places, wanted: Wanted,
    step: Callable[[str], None],
) -> Seen:  # fmt: skip
    """Look at the whole root. `step` is called for each `_STEP` paths.

    `devices` holds each layer's device. Raises BootunionError of making the union.
    """
    namespace.require_root("checking the root")
    covered = tuple(_covered(machine.merged, _mount_points(places.root), wanted.mounts))
    with tempfile.TemporaryDirectory(prefix="bootunion-check-", dir=places.run) as directory:
        workspace = Path(directory)

        def work() -> Seen:
            with checkroot_layers.united(
                machine, devices, places.root, places.store, workspace
            ) as (bare, below):
                return _Look(machine, upper, bare, below, wanted.content).run()

        seen = namespace.in_namespace(work, hear=step)
    return seen._replace(differences=tuple(sorted({*covered, *seen.differences})))


class _Look:
    """One look, inside the namespace."""

    def __init__(
        self, machine: Running, upper: Upper, bare: Path, below: Path, content: bool
    ) -> None:
        self._machine = machine
        self._expected = machine.merged.paths
        self._upper = upper
        self._bare = bare
        self._below = below
        self._content = content
        self._found: dict[str, Entry] = {}
        self._looked = 0
        self._read = 0

    def run(self) -> Seen:
        given = self._upper.given()
        bare = {path: one for path, one in self._expected.items() if not given.has(path)}
        seen = list(comparing.compare(bare, self._noted(self._seen(given))))
        # What came into the upper since it was looked at is no difference; it is looked at below.
        late = {one.path for one in seen if self._upper.gives(one.path)}
        for path in late:
            self._found.pop(path, None)
        differences = [one for one in seen if one.path not in late]
        hidden = (self._expected.keys() - bare.keys()) | (late & self._expected.keys())
        differences += self._hidden(hidden)
        wrong = {one.path for one in differences} | late
        differences += self._other_layers(path for path in bare if path not in wrong)
        return Seen(
            len(self._found), len(hidden), self._read, self._digest(), tuple(differences)
        )  # fmt: skip

    def _tell(self, path: str) -> None:
        self._looked += 1
        if self._looked % _STEP == 0:
            namespace.tell("/".join(path.split("/")[:2]))

    def _seen(self, given: Given) -> Iterator[Entry | Unseen]:
        """What the root shows and the upper does not give."""
        for found in walking.walk(self._bare, content=self._content):
            self._tell(found.path)
            if not given.has(found.path):
                yield found

    def _hidden(self, paths: Set[str]) -> Iterator[Difference]:
        """How the paths that the upper gives or hides differ below it."""
        expected = {path: self._expected[path] for path in paths}
        seen = walking.look(self._below, sorted(paths), content=self._content)
        yield from comparing.compare(expected, self._noted(seen))
        for path in paths:
            if expected[path][1].type == contents.DIRECTORY:
                yield from self._additional(path)

    def _noted(self, found: Iterable[Entry | Unseen]) -> Iterator[Entry | Unseen]:
        """What is found, noted and passed on."""
        for one in found:
            if isinstance(one, Entry):
                self._found[one.path] = one
                self._read += one.size if one.digest else 0
            yield one

    def _additional(self, directory: str) -> Iterator[Difference]:
        """What no package has in a directory, below the upper."""
        try:
            names = os.listdir(self._below / directory)
        except OSError:
            return  # said already
        for name in names:
            path = f"{directory}/{name}" if directory else name
            if path not in self._expected:
                (found,) = walking.look(self._below, [path], content=False)
                kind = found.type if isinstance(found, Entry) else found.text
                yield Difference(path, comparing.UNEXPECTED, "", kind)

    def _other_layers(self, paths: Iterable[str]) -> Iterator[Difference]:
        """Paths that the root has from another file system or inode than the union of the layers.

        Overlayfs puts a number of each lower file system into the upper bits of its files' inode
        numbers (xino), or gives it a device number of its own (fs/overlayfs/inode.c,
        ovl_map_dev_ino): in two unions of the same layers these differ, and go together one to one.
        """
        partners: dict[_Mark, _Mark] = {}
        taken: dict[_Mark, _Mark] = {}
        for path in paths:
            if self._expected[path][1].type == contents.DIRECTORY:
                continue
            self._tell(path)
            try:
                here, there = (os.lstat(place / path) for place in (self._bare, self._below))
            except OSError:
                continue  # it went, or came into the upper
            mark, other = ((one.st_dev, one.st_ino >> _INODE_BITS) for one in (here, there))
            together = (
                partners.setdefault(mark, other) == other
                and taken.setdefault(other, mark) == mark
                and (here.st_ino ^ there.st_ino) & (1 << _INODE_BITS) - 1 == 0
            )
            if not together and not self._upper.gives(path):
                name = self._machine.layers[self._expected[path][0]].name
                yield Difference(path, OTHER_LAYER, name, f"inode {here.st_ino}")

    def _digest(self) -> str:
        """The digest of what was found, each path with the layer that should give it."""
        paths = {}
        for path, found in self._found.items():
            layer, listed = self._expected.get(path, (0, found))
            shown = found._replace(xattrs=listed.xattrs) if _same_xattrs(listed, found) else found
            if found.type == contents.SYMLINK:
                shown = shown._replace(mode=listed.mode)
            if not self._content:
                shown = shown._replace(digest=listed.digest)
            paths[path] = (layer, shown)
        return Namespace(paths, ()).digest(self._machine.identities)


def _same_xattrs(listed: Entry, found: Entry) -> bool:
    differing = comparing.differences(listed, found)
    return not any(one.what in (comparing.XATTRS, comparing.TYPE) for one in differing)


def _mount_points(root: Path) -> list[tuple[str, str]]:
    """What is mounted below `root`: (path relative to it, type of the file system).

    From /proc/self/mountinfo, see proc(5).
    """
    found = []
    prefix = f"{str(root).rstrip('/')}/"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            first, _, second = line.partition(" - ")
            at = first.split()[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
            at = at.encode("latin-1").decode("utf-8", "surrogateescape")
            if at.startswith(prefix) and at != prefix:
                found.append((at.removeprefix(prefix), second.split()[0]))
    return found


def _covered(
    merged: Namespace, mounted: Iterable[tuple[str, str]], meant: Iterable[str]
) -> Iterator[Difference]:
    """Mounts that hide what a package gives, but for the usual ones and those that are meant."""
    paths = running.Paths(merged)
    fine = (*MOUNT_POINTS, *meant)
    for at, kind in mounted:
        if any(at == one or at.startswith(f"{one}/") for one in fine):
            continue
        entry = merged.paths.get(at)
        if entry is not None and entry[1].type != contents.DIRECTORY:
            yield Difference(at, COVERED, entry[1].type, kind)
        elif below := paths.below(at):
            yield Difference(at, COVERED, f"{contents.DIRECTORY} of {len(below)}", kind)


def steps(machine: Running) -> int:
    """How often `check` calls `step`, about: the root is walked twice."""
    return 2 * len(machine.merged.paths) // _STEP


def with_bad_blocks(seen: Seen, corrupted: Iterable[Layer]) -> Seen:
    """What was seen, and the packages of which dm-verity met a bad block; those come last."""
    found = tuple(
        Difference("", CORRUPTED, layer.name, f"a bad block of {layer.stem}") for layer in corrupted
    )
    return seen._replace(differences=(*seen.differences, *found))


def verdict(machine: Running, seen: Seen) -> BootunionError | None:
    """The refusal that follows from a look, None when the root is what the list says."""
    if not seen.differences:
        if seen.digest == machine.digest:
            return None
        text = f"what was walked has the digest {seen.digest}, signed is {machine.digest}"
        return BootunionError("root-differs", text, subject=machine.name)
    first = seen.differences[0]
    more = len({one.path for one in seen.differences}) - 1
    others = f"; {more} more paths differ" if more else ""
    text = f"{describe(machine, first)}{others}"
    return BootunionError("root-differs", text, subject=printable(f"/{first.path}"))


def package(machine: Running, one: Difference) -> str:
    """Whose a difference is, "" for nobody's."""
    if one.what == CORRUPTED:
        return one.expected
    found = machine.merged.paths.get(one.path)
    return machine.layers[found[0]].name if found else ""


_SENTENCES = {
    comparing.MISSING: "it is not there",
    comparing.UNEXPECTED: "the list has no such {found} there",
    comparing.UNREADABLE: "it cannot be read: {found}",
    COVERED: "a mount ({found}) covers this {expected}",
    OTHER_LAYER: "another layer than the list says gives it",
    CORRUPTED: "dm-verity met {found}",
}


def describe(machine: Running, one: Difference) -> str:
    """A difference as a sentence behind its path."""
    sentence = _SENTENCES.get(one.what, "its {what} is {found}, the list says {expected}")
    said = sentence.format(
        what=one.what, found=one.found or "nothing", expected=one.expected or "nothing"
    )
    return printable(f"{package(machine, one) or 'no package'}: {said}")


def as_json(machine: Running, seen: Seen, wanted: Wanted) -> dict[str, object]:
    """The outcome for `--json`."""
    error = verdict(machine, seen)
    return {
        "schema": 1,
        "list": {"name": machine.system.name, "generation": machine.system.generation},
        "result": "differs" if error else "same",
        "digest": machine.digest,
        "found": seen.digest,
        "content": wanted.content,
        "left_out": list(machine.left_out),
        "paths": seen.paths,
        "below_upper": seen.upper,
        "bytes": seen.read,
        "differences": [
            {**one._asdict(), "path": f"/{one.path}", "package": package(machine, one)}
            for one in seen.differences
        ],
        "error": error.as_json() if error else None,
    }


def show(machine: Running, seen: Seen, wanted: Wanted) -> None:
    """What was found, for people; the refusal comes apart."""
    # A single one is all that the refusal says.
    for one in seen.differences[: _SHOWN if len(seen.differences) > 1 else 0]:
        console.show_line(f"differs  {printable(f'/{one.path}')}: {describe(machine, one)}")
    if len(seen.differences) > _SHOWN:
        print(f"         … and {len(seen.differences) - _SHOWN} more; --json has all")
    if seen.differences:
        return
    content = f"{console.human_size(seen.read)} read" if wanted.content else "contents not read"
    without = f", without {', '.join(machine.left_out)}" if machine.left_out else ""
    console.show_line(
        f"{machine.name}: the root is what the list says below the upper{without}: "
        f"{seen.paths} paths, {content}, {seen.upper} of them under the upper; "
        f"digest {seen.digest}"
    )
