"""`bootunion verify`: signatures, manifests and every block of every package of a list."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from bootunion import trust
from bootunion.errors import BootunionError
from bootunion.package import Image
from bootunion.systemlist import SystemList

from . import packaging, reading
from .store import Store


class Verdict(NamedTuple):
    """What was found about one package: `error` is None when it is whole."""

    package: str
    error: BootunionError | None


def verify(
    store: Store, trusted: trust.Trust, system: SystemList, progress: Callable[[str], None]
) -> list[Verdict]:
    """Check every package of `system`: manifest, contents, each block, superblock and tree."""
    verdicts = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        checks = [
            pool.submit(_blocks, str(store.packages / layer.file_name), layer.image, layer.stem)
            for layer in system.layers
        ]
        for layer, check in zip(system.layers, checks, strict=True):
            error: BootunionError | None = None
            try:
                store.entries(reading.read_manifest(store, trusted, layer))
                check.result()
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
