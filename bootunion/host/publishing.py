"""Makes a tree that any static web server can serve and `bootunion fetch` can read.

It looks like a store. Packages come first, then lists, then what is current: who reads while it is
written finds everything that a list names.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bootunion import package, trust
from bootunion.systemlist import Layer

from . import reading
from .store import Store, refusing_full_disk, sync_directory


class Published(NamedTuple):
    """Lists as "name generation", packages that were copied, those that were there already."""

    lists: tuple[str, ...]
    copied: int
    present: int


def publish(
    store: Store, trusted: trust.Trust, target: Path, names: Sequence[str],
    begin: Callable[[int], None], step: Callable[[str], None],
) -> Published:  # fmt: skip
    """Publish the current generations of lists (all of the store's for none) into `target`.

    What is published already stays. Raises BootunionError as reading a list does, file-missing.
    """
    wanted = names or sorted(path.name for path in store.lists.glob("*/"))
    found = [reading.read_list(store, trusted, name, 0)[0] for name in wanted]
    layers = {layer.stem: layer for system in found for layer in system.packages}
    there = Store(target).create()
    missing = [one for one in layers.values() if not (there.packages / f"{one.stem}.json").exists()]
    begin(len(missing))
    for layer in missing:
        reading.read_manifest(store, trusted, layer)
        with refusing_full_disk(target):
            _copy(store, there, layer)
        step(layer.name)
    sync_directory(there.packages)
    for system in found:
        path = Path(system.name) / f"{system.generation}.json"
        there.add_list(system.name, system.generation, (store.lists / path).read_bytes())
    shown = tuple(f"{one.name} generation {one.generation}" for one in found)
    return Published(shown, len(missing), len(layers) - len(missing))


def _copy(store: Store, there: Store, layer: Layer) -> None:
    """The three files of a package, the manifest last; by hard link where that is possible."""
    others = (layer.stem + suffix for suffix in (package.CONTENTS_SUFFIX, package.MANIFEST_SUFFIX))
    for name in (layer.file_name, *others):
        source, target = store.packages / name, there.packages / name
        if target.exists():
            continue
        with contextlib.suppress(OSError):
            # Packages are never written to again, so one copy is enough on one file system.
            os.link(source, target)
            continue
        with there.workspace() as aside:
            shutil.copyfile(source, aside / "file")
            with (aside / "file").open("rb+") as file:
                os.fsync(file.fileno())
            (aside / "file").chmod(0o644)
            (aside / "file").rename(target)
