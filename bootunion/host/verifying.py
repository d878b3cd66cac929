"""`bootunion verify`: signatures, manifests and every block of every package of a list."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from bootunion import merge, trust
from bootunion.contents import Entry
from bootunion.errors import BootunionError
from bootunion.package import Image
from bootunion.systemlist import SystemList

from . import packaging, reading
from .index import making
from .store import Store


class Verdict(NamedTuple):
    """What was found about one package: `error` is None when it is whole."""

    package: str
    error: BootunionError | None


def verify(
    store: Store, trusted: trust.Trust, system: SystemList, progress: Callable[[str], None]
) -> list[Verdict]:
    """Check every package of `system`: manifest, contents, each block, superblock and tree.

    An index is made once more of the packages' contents and compared.
    """
    verdicts: list[Verdict] = []
    contents: list[list[Entry]] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        checks = [
            pool.submit(_blocks, str(store.packages / layer.file_name), layer.image, layer.stem)
            for layer in system.packages
        ]
        for layer, check in zip(system.packages, checks, strict=True):
            error: BootunionError | None = None
            try:
                entries = store.entries(reading.read_manifest(store, trusted, layer))
                if system.index_layer:
                    contents.append(entries)
                check.result()
                if layer is system.index_layer and not any(one.error for one in verdicts):
                    making.check(store, system, merge.merge(contents[:-1]))
            except BootunionError as found:
                error = found
            verdicts.append(Verdict(layer.stem, error))
            progress(layer.name)
    return verdicts


def _blocks(path: str, image: Image, subject: str) -> None:
    try:
        packaging.check_image(Path(path), image, subject=subject)
    except FileNotFoundError:
        raise BootunionError("file-missing", "is not in the store", subject=subject) from None
