"""Packages for somebody without privileges and without a helper: squashfuse in a user namespace.

Weaker than dm-verity: the image was checked before, and its owner can change it while it is read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bootunion.initrd import mount
from bootunion.process import Pick

from .. import run
from .searching import Place

_AT_ONCE = 8


def mount_all(picks: Sequence[Pick], search: Sequence[Place], place: Path) -> dict[int, int]:
    """Mount each package's image, in namespaces of this process' own; gives trees by layer.

    The programs that serve them end with the process namespace. Raises BootunionError
    program-missing, program-failed.
    """
    run.require("squashfuse")
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    mount.mount("bootunion", str(place), "tmpfs", mount.MS_NODEV | mount.MS_NOSUID, "mode=0700")
    numbers = range(len(picks))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        trees = list(pool.map(lambda one: _mount(picks[one], search, place / str(one)), numbers))
    return dict(zip(numbers, trees, strict=True))


def _mount(pick: Pick, search: Sequence[Place], place: Path) -> int:
    layer, store = pick
    place.mkdir()
    image = search[store].store.packages / layer.file_name
    run.run(["squashfuse", "-o", "ro,nosuid,nodev", str(image), str(place)],
            what=f"mounting {layer.name}")  # fmt: skip
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return mount.clone_tree(directory, str(place))
    finally:
        os.close(directory)
