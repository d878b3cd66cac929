"""Imports .debs into a store: several at once, each at most once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from bootunion import manifest, trust
from bootunion.errors import BootunionError
from bootunion.manifest import Manifest, Source

from . import deb, packaging
from .signing import Signer
from .store import Store

Progress = Callable[[str], None]
"""Called with a package's name when it is in the store."""


def import_debs(
    files: Sequence[Path], store: Store, signer: Signer, progress: Progress, *,
    known: Iterable[Manifest] = (), jobs: int = 0,
) -> list[Manifest]:  # fmt: skip
    """Import each of `files`; the manifests come in the order of `files`.

    A .deb that `known` has by its SHA-256 is not imported again. All that can be imported are;
    then the first bad file's BootunionError is raised.
    """
    by_source = {one.source.sha256: one for one in known if one.source.kind == "deb"}
    done: dict[Path, Manifest] = {}
    errors: list[BootunionError] = []
    with ProcessPoolExecutor(jobs or os.cpu_count(), initializer=_worker) as pool:
        try:
            waiting = {
                pool.submit(import_deb, file, store.path, signer, by_source): file
                for file in dict.fromkeys(files)
            }
            for future in as_completed(waiting):
                try:
                    done[waiting[future]] = future.result()
                    progress(done[waiting[future]].name)
                except BootunionError as error:
                    errors.append(error)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if errors:
        raise errors[0]
    return [done[file] for file in files]


def _worker() -> None:
    # Ctrl-C reaches the whole process group: the parent decides, a worker ends its package.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def import_deb(file: Path, store: Path, signer: Signer, by_source: dict[str, Manifest]) -> Manifest:
    """Import one .deb. Raises BootunionError deb-invalid, member-invalid, disk-full …"""
    control = deb.read_control(file)
    sha256 = packaging.digest(file)
    found = by_source.get(sha256)
    if found is not None:
        return found
    source = Source("deb", file.name[:255], sha256)
    about = deb.describe(control)
    return packaging.write_package(
        Store(store),
        deb.members(file, control),
        about,
        source,
        signer,
        newest=deb.build_time(file),
    )


def known_manifests(store: Store, trusted: trust.Trust) -> list[Manifest]:
    """The packages of a store that are signed and whole; others are passed over."""
    found = []
    for stem in store.stems():
        try:
            payload, _ = trust.open_envelope(
                trusted, trust.ROLE_PACKAGE, store.envelope(stem), subject=stem
            )
            described = manifest.decode(payload, subject=stem)
            manifest.check_stem(described, stem)
            image = store.packages / described.file_name
            packaging.check_image(image, described.image, subject=stem)
        except (BootunionError, OSError):
            continue
        found.append(described)
    return found
