"""Walks the union of whole lists and compares every path with what the plan says of it.

    sudo .venv/bin/python bench/union.py [STORE TRUST LIST]     (`make union-walk`)

The packages are mounted as they are, squashfs on loop devices, and united by overlayfs in a
namespace of its own; each path's type, mode, owner, size, link target, device, attributes, time,
content and winner are compared. Without arguments the lists are the demo's and bench/packages.py's.
Ends with 0 when nothing differs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bootunion import comparing, merge, plan
from bootunion.comparing import Difference
from bootunion.contents import DIRECTORY, FILE
from bootunion.host import namespace, reading, signing, walking
from bootunion.host.store import Store
from bootunion.merge import Namespace

TOP = Path(__file__).resolve().parents[1]
_SHOWN = 20


class Walked(NamedTuple):
    """What a walk found. `size` is bytes of all files that were read."""

    layers: int
    types: dict[str, int]
    size: int
    contested: dict[str, int]
    differences: list[Difference]

    @property
    def paths(self) -> int:
        return sum(self.types.values())


def winners(merged: Namespace, root: Path) -> Iterator[Difference]:
    """Paths that another layer gives than the plan says, as far as the kernel tells.

    An overlay's files have their layer in the device number, or with `xino` in the upper half of
    the inode number (overlayfs.rst, "Inode properties"); a squashfs has 32 bits of inode numbers. A
    directory has neither, but as everything the time of its winner.
    """
    layers: dict[tuple[int, int], int] = {}
    marks: dict[int, tuple[int, int]] = {}
    for path, (layer, entry) in merged.paths.items():
        status = os.lstat(root / path)
        if int(status.st_mtime) != entry.mtime:
            yield Difference(path, "time", str(entry.mtime), str(status.st_mtime))
        if entry.type == DIRECTORY:
            continue
        mark = (status.st_dev, status.st_ino >> 32)
        seen = layers.setdefault(mark, layer), marks.setdefault(layer, mark)
        if seen != (layer, mark):
            yield Difference(path, "winner", str((layer, mark)), str(seen))


def walk(store: Path, trust: Path, name: str, work: Path) -> Walked:
    """Mount the current generation of a list below `work`, walk it and compare."""
    kept = Store(store)
    trusted = signing.read_trust(trust)
    system, _ = reading.read_list(kept, trusted, name, 0)
    merged = merge.merge(
        kept.entries(reading.read_manifest(kept, trusted, layer)) for layer in system.layers
    )
    found = merged.digest([layer.image.root_hash for layer in system.layers])
    assert found == system.namespace, "the list is of another version of bootunion"
    steps = plan.for_namespace(system, str(work), upper="", verity=False)

    def look(root: Path) -> list[Difference]:
        compared = comparing.compare(merged.paths, walking.walk(root))
        return [*compared, *winners(merged, root)]

    differences = namespace.in_namespace(
        lambda: namespace.in_union(store, steps, work / "root", look)
    )
    entries = [entry for _, entry in merged.paths.values()]
    return Walked(
        len(system.layers), dict(Counter(entry.type for entry in entries)),
        sum(entry.size for entry in entries if entry.type == FILE),
        dict(Counter(one.kind for one in merged.contested)), differences,
    )  # fmt: skip


def lists() -> list[tuple[Path, Path, str]]:
    """(store, trust store, list) of what is walked."""
    if len(sys.argv) == 4:
        return [(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])]
    sys.path[:0] = [str(TOP / "qemu-tests")]
    import packages  # noqa: PLC0415
    import scenario  # noqa: PLC0415

    many, debian = packages.make(), scenario.make()
    return [
        (debian.store, debian.trust, "demo"),
        (many.store, many.trust, packages.LIST),
    ]


def main() -> int:
    print(f"{time.strftime('%Y-%m-%d')}, Linux {os.uname().release}")
    wrong = 0
    for store, trust, name in lists():
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="bootunion-") as work:
            found = walk(store, trust, name, Path(work) / "union")
        wrong += len(found.differences)
        types = ", ".join(f"{count} {kind}" for kind, count in sorted(found.types.items()))
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.contested.items()))
        print(f"{name}: {found.layers} layers, {found.paths} paths ({types}), "
              f"{found.size / (1 << 20):.0f} MiB of content; contested: {kinds or 'none'}; "
              f"{len(found.differences)} differences; "
              f"{time.monotonic() - begun:.0f} s")  # fmt: skip
        for one in found.differences[:_SHOWN]:
            print(f"  /{one.path}: {one.what}: expected {one.expected!r}, found {one.found!r}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
