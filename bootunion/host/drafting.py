"""A list that is not composed yet: what a system.yaml would become.

apt resolves in its private root. A package that the store has is taken from there; one whose .deb
is at hand is read from the .deb; of one that would have to be downloaded only name, version and
size are known. What maintainer scripts would write is not known: the generated layer holds only
what composing always puts there.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from bootunion import manifest, plan, systemlist, trust
from bootunion.contents import Entry
from bootunion.errors import BootunionError
from bootunion.manifest import Manifest, Source
from bootunion.package import Image
from bootunion.systemlist import Layer, SystemList

from . import apt, build, configure, deb, packaging, planning, reading, workers
from .configure import Progress
from .packaging import Description
from .planning import Gathered
from .store import Store
from .systemyaml import System

UNMADE = Image("squashfs", 0, 0, 0, "", "")
"""The image of a package that is not made yet."""


class Draft(NamedTuple):
    """A list whose packages may not exist, and what is known of each of its layers."""

    system: SystemList
    gathered: tuple[Gathered, ...]


def draft(
    system: System, store: Store, trusted: trust.Trust, cache: Path, progress: Progress
) -> Draft:
    """What `system` would become now. Raises BootunionError apt-failed, file-missing …

    Needs no root, and writes nothing but apt's indexes in `cache`.
    """
    progress.stage("reading apt's package indexes", 0)
    with apt.private(cache, system.suites, system.sources, system.architecture) as tool:
        tool.update()
        resolved = tool.resolve(system.packages)
    known = {one.source.sha256: one for one in _signed(store, trusted)}
    jobs: list[_Job] = [_Job(one.path, one.name, one.version) for one in system.local]
    debs = sorted(resolved.debs, key=lambda path: path.name.partition("_")[0])
    jobs += [_Job(path, download=resolved.sizes.get(path.name, 0)) for path in debs]
    progress.stage("reading packages", len(jobs))
    found = [_generated(system)]
    count = min(os.cpu_count() or 1, len(jobs)) or 1
    with workers.pool(count, workers.die_at_once) as pool:
        read = partial(_read, known=known, store=store.path)
        results = pool.map(read, jobs)
        workers.heed()
        for job, one in zip(jobs, results, strict=True):
            found.append(one)
            progress.step(job.path.name.partition("_")[0])
    layers = tuple(layer._replace(need=system.need(layer.name)) for layer, _ in found)
    listed = system.as_list(store.next_generation(system.name), planning.now(), layers)
    if system.union == plan.UNION_INDEX:
        name = systemlist.index_name(system.name)
        listed = listed._replace(index_layer=Layer(name, "draft", system.architecture, UNMADE))
    return Draft(listed, tuple(one for _, one in found))


class _Job(NamedTuple):
    """A package to read: a .deb, or a directory with a name. `download` bytes are not here yet."""

    path: Path
    name: str = ""
    version: str = ""
    download: int = 0


def _signed(store: Store, trusted: trust.Trust) -> Iterator[Manifest]:
    if not store.packages.is_dir():
        return
    for stem in store.stems():
        with contextlib.suppress(BootunionError):
            yield reading.signed_manifest(store, trusted, stem)


def _read(job: _Job, known: dict[str, Manifest], store: Path) -> tuple[Layer, Gathered]:
    if job.name:
        about = Description(job.name, job.version, "all")
        return _made_of(about, packaging.entries_of(job.name, build.members(job.path)))
    if job.download:
        name, version, architecture = job.path.name.removesuffix(".deb").split("_")
        layer = Layer(name, unquote(version), architecture, UNMADE)
        return layer, Gathered(None, present=False, download=job.download)
    try:
        described = known.get(packaging.digest(job.path))
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise BootunionError("file-missing", text, subject=str(job.path)) from None
    if described is not None:
        layer = Layer(described.name, described.version, described.architecture, described.image)
        return layer, Gathered(described, Store(store).entries(described))
    control = deb.read_control(job.path)
    about = deb.describe(control)
    return _made_of(about, packaging.entries_of(about.name, deb.members(job.path, control)))


def _made_of(about: Description, entries: Sequence[Entry]) -> tuple[Layer, Gathered]:
    layer = Layer(about.name, about.version, about.architecture, UNMADE)
    described = Manifest(
        **about._asdict(), image=UNMADE, source=Source("directory", "", ""),
        contents=manifest.Contents("", 0),
    )  # fmt: skip
    return layer, Gathered(described, entries, present=False)


def _generated(system: System) -> tuple[Layer, Gathered]:
    """The generated layer, as far as it is always the same."""
    about = Description(systemlist.generated_name(system.name), "draft", system.architecture)
    with tempfile.TemporaryDirectory() as name:
        configure.make_skeleton(Path(name))
        entries = packaging.entries_of(about.name, build.members(Path(name)))
    layer, known = _made_of(about, entries)
    assert known.manifest is not None
    source = Source("generated", "", "")
    return layer, known._replace(manifest=known.manifest._replace(source=source))
