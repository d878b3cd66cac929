"""Imports .debs and wheels into a store: several at once, each at most once."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path

from bootunion import package, trust
from bootunion.errors import BootunionError
from bootunion.manifest import Manifest, Source
from bootunion.package import SQUASHFS

from . import deb, erofs, packaging, reading, workers
from .packaging import Sign
from .store import Store

Progress = Callable[[str], None]
"""Called with a package's name when it is in the store."""

Import = Callable[..., Manifest]
"""Imports (file, store, signer, threads=…, image_format=…) in a process of its own: picklable."""


def import_debs(
    files: Sequence[Path], store: Store, signer: Sign, progress: Progress, *,
    known: Iterable[Manifest] = (), jobs: int = 0, image_format: str = SQUASHFS,
) -> list[Manifest]:  # fmt: skip
    """Import each of `files`; the manifests come in the order of `files`.

    All that can be imported are, and stay: each is complete. Then a BootunionError names every bad
    file, with the first one's code.
    """
    results = import_each(
        files, store, signer, progress, known=known, jobs=jobs, image_format=image_format
    )
    errors = [one for one in results.values() if isinstance(one, BootunionError)]
    if errors:
        raise workers.all_of(errors, "files were not imported")
    return [one for file in files if isinstance(one := results[file], Manifest)]


def import_each(
    files: Sequence[Path], store: Store, signer: Sign, progress: Progress, *,
    known: Iterable[Manifest] = (), jobs: int = 0, image_format: str = SQUASHFS,
    how: Import | None = None,
) -> dict[Path, Manifest | BootunionError]:  # fmt: skip
    """What became of each of `files`, in their order: its manifest, or why it was refused.

    A .deb that `known` has in this format by its SHA-256 is not imported again; `how` imports
    other files than .debs. Raises BootunionError program-failed when a process that imports was
    killed.
    """
    if how is None:
        by_source = {
            one.source.sha256: one for one in known
            if one.source.kind == "deb" and is_in_format(store, one, image_format)
        }  # fmt: skip
        how = functools.partial(import_deb, by_source=by_source)
    work = functools.partial(
        _import_one, how, store=store.path, signer=signer, image_format=image_format
    )
    results: dict[Path, Manifest | BootunionError | None] = dict.fromkeys(files)
    count = min(jobs or os.cpu_count() or 1, len(results)) or 1
    # Where each core has a .deb of its own, more threads would only wait for each other.
    threads = 1 if count > 1 else 0
    with workers.pool(count, workers.clear_away_first) as pool:
        waiting: dict[Future[Manifest], Path] = {
            pool.submit(work, file, threads=threads): file
            for file in sorted(results, key=_size, reverse=True)
        }
        workers.heed()
        for file, result in workers.collect(waiting, "imports", lambda file: file.name):
            results[file] = result
            progress(file.name.partition("_")[0])
    return {file: one for file, one in results.items() if one is not None}


def is_in_format(store: Store, one: Manifest, image_format: str) -> bool:
    """Whether a package of the store is what importing in this format would make."""
    if one.image.format != package.file_system(image_format):
        return False
    if one.image.format != package.EROFS:
        return True
    return erofs.made_as(store.packages / one.file_name) == image_format


def _size(file: Path) -> int:
    # The largest first: a large one that begins last would keep one core busy alone.
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _import_one(
    how: Import, file: Path, store: Path, signer: Sign, threads: int, image_format: str
) -> Manifest:
    with workers.at_work():
        return how(file, store, signer, threads=threads, image_format=image_format)


def import_deb(
    file: Path, store: Path, signer: Sign, by_source: dict[str, Manifest], threads: int = 0,
    image_format: str = SQUASHFS,
) -> Manifest:  # fmt: skip
    """Import one .deb, compressing with `threads` (0: all cores).

    Raises BootunionError deb-invalid, member-invalid, path-conflict, overlay-marker, disk-full …
    """
    control = deb.read_control(file)
    try:
        sha256 = packaging.digest(file)
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise BootunionError("file-missing", text, subject=str(file)) from None
    found = by_source.get(sha256)
    if found is not None:
        return found
    # A manifest has no control characters in names; the digest says which file it was.
    name = "".join(char if char.isprintable() else "?" for char in file.name)[:255]
    return packaging.write_package(
        Store(store),
        deb.members(file, control),
        deb.describe(control),
        Source("deb", name, sha256),
        signer,
        processors=threads,
        image_format=image_format,
    )


def known_manifests(store: Store, trusted: trust.Trust) -> list[Manifest]:
    """The packages of a store that are signed and whole; others are passed over."""
    found = []
    for stem in store.stems():
        try:
            described = reading.signed_manifest(store, trusted, stem)
            image = store.packages / described.file_name
            packaging.check_image(image, described.image, subject=stem)
        except (BootunionError, OSError):
            continue
        found.append(described)
    return found
