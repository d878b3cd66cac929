"""Prepares a project: reads what it wants, takes what is cached, brings the rest, remembers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bootunion import trust
from bootunion.errors import BootunionError
from bootunion.manifest import Manifest
from bootunion.process import Tree
from bootunion.systemlist import MAX_LAYERS, Layer

from .. import places, signing
from ..store import Store
from ..wheels import PREFIX, interpreter
from ..wheels.interpreter import Interpreter
from . import (
    Prepared,
    Progress,
    cached,
    interpreters,
    keys,
    memory,
    names,
    remembering,
    requirements,
    settings,
)
from .settings import Settings
from .wanted import Read, Sources, Wanted

if TYPE_CHECKING:
    from ..signing import Signer
    from .pipconfig import PipConfig

# What would lead the interpreter to packages or programs that are not the project's; for each of
# these variables empty means unset.
_CLEARED = ("PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX")


def prepare(top: Path, progress: Progress, environment: Mapping[str, str], jobs: int) -> Prepared:
    """See `projects.prepare`; `top` is absolute. What was remembered is not looked at."""
    # The stat values first: what changes while it is read is then not taken for unchanged.
    before = dict(memory.stats(memory.candidates(top)))
    about = settings.read(top)
    cache = places.cache(environment)
    store = Store(cache).create()
    python = interpreters.ask(about.python, cache)
    read = _read(about, python, environment)
    before |= dict(memory.stats(path for path in read.inputs if path not in before))
    signer = keys.signer(places.config(environment))
    trusted = signing.read_trust(places.config(environment) / keys.TRUST, cache)
    made, missing = _cached_wheels(read, (store, trusted), python)
    if missing:
        # The parts that talk to servers take longer to load than all the rest.
        from . import bringing, locating  # noqa: PLC0415

        tools = bringing.Tools(cache, signer, python, _config(about, read, environment))
        wheels = locating.locate_all(missing, tools.config, python)
        made |= bringing.bring(wheels, tools, progress, jobs)
    _check_complete(about, read, made)
    found = [_names(store, trusted, signer, python), *(made[name] for name in sorted(made))]
    prepared = _prepared(about, read, python, cache, found)
    others = memory.stats((about.python, python.layout.python))
    others += memory.stats(str(store.packages / one.file_name) for one in prepared.layers)
    variables = {name: environment.get(name) for name in read.variables}
    files = [list(one) for one in before.items()]
    fields = remembering.fields_of(prepared, str(top), [*files, *others], variables)
    remembering.remember(memory.place(cache, top), fields)
    if set(before) == set(memory.candidates(top)) and not read.python_path:
        place = memory.place_of_content(cache, top)
        if memory.stats(before) == files:  # it is what was read
            remembering.remember(place, {**fields, "directory": "", "depends": others})
    return prepared


def _read(about: Settings, python: Interpreter, environment: Mapping[str, str]) -> Read:
    """What the project's file wants, whichever kind it is."""
    name = about.requirements.name
    if name == "uv.lock":
        from . import uvlock  # noqa: PLC0415 - as the next one: not every project has one

        return uvlock.read(about.requirements, python.markers, python.version)
    # PEP 751: pylock.toml, or pylock.NAME.toml.
    first, *_, last = parts = name.split(".")
    if (first, last) == ("pylock", "toml") and len(parts) in (2, 3) and all(parts):
        from . import pylock  # noqa: PLC0415

        return pylock.read(about.requirements, python.markers, python.version)
    return requirements.read(about.requirements, python.markers, environment)


def _config(about: Settings, read: Read, environment: Mapping[str, str]) -> PipConfig:
    """pip's configuration, with what the project's own files say in its place or beside it."""
    from . import pipconfig  # noqa: PLC0415

    config = pipconfig.read(environment)
    indexes = about.indexes or config.sources.indexes
    if not about.indexes and read.main_index is not None:
        indexes = (read.main_index, *indexes[1:])
    indexes = () if read.no_index else (*indexes, *read.sources.indexes)
    links = (*about.find_links, *read.sources.find_links, *config.sources.find_links)
    return config._replace(sources=Sources(tuple(dict.fromkeys(indexes)), links))


def _cached_wheels(
    read: Read, have: tuple[Store, trust.Trust], python: Interpreter
) -> tuple[dict[str, Manifest], list[Wanted]]:
    """The packages that are there by their projects' names, and the wheels that are not."""
    found: dict[str, Manifest] = {}
    missing: list[Wanted] = []
    for one in read.wanted:
        described = _cached(one, have, python)
        if described is not None:
            found[one.name] = described
        else:
            missing.append(one)
    return found, missing


def _cached(
    wanted: Wanted, have: tuple[Store, trust.Trust], python: Interpreter
) -> Manifest | None:
    """The package of the best of the wheels that will do, when one of them is in the store."""
    layout = python.layout.digest
    known = (cached.find(*have, sha256, layout) for sha256 in sorted(wanted.hashes))
    found = [one for one in known if one is not None]
    if len(found) < 2:
        return found[0] if found else None
    from ..wheels import describing  # noqa: PLC0415 - one wheel of a project is the rule

    ranks = [describing.rank(describing.parse_name(one.source.file).tags, python) for one in found]
    return found[ranks.index(min(ranks))]


def _names(store: Store, trusted: trust.Trust, signer: Signer, python: Interpreter) -> Manifest:
    digest = python.layout.digest
    found = cached.find(store, trusted, names.digest(python), digest)
    if found is None:
        found = names.make(store, signer, python)
        cached.note(store, found, digest)
    return found


def _check_complete(about: Settings, read: Read, made: Mapping[str, Manifest]) -> None:
    """Refuse requirements that lack what their packages need, as pip does beside hashes."""
    if not read.closed:
        return
    have = {one.name for one in made.values()}
    lacking = sorted(
        {(name.removeprefix(PREFIX), one.name)
         for one in made.values() for text in one.depends
         if (name := text.partition(" ")[0]) not in have}
    )  # fmt: skip
    if lacking:
        said = [f"{name} (for {of.removeprefix(PREFIX)})" for name, of in lacking]
        text = f"does not name {', '.join(said[:10])}"
        raise BootunionError("requirements-incomplete", text, subject=str(about.requirements))


def _prepared(
    about: Settings, read: Read, python: Interpreter, cache: Path, found: Sequence[Manifest]
) -> Prepared:
    if len(found) >= MAX_LAYERS:
        text = f"{len(found)} packages are more than one union takes"
        raise BootunionError("layers-too-many", text, subject=str(about.requirements))
    layers = tuple(Layer(one.name, one.version, one.architecture, one.image) for one in found)
    values = dict.fromkeys(_CLEARED, "")
    # A user's own packages (~/.local/lib) are as foreign here as the system's.
    values |= {"PATH": f"/{python.layout.scripts}"}
    if not about.system_packages:
        values["PYTHONNOUSERSITE"] = "1"
    if read.python_path:
        values["PYTHONPATH"] = ":".join(read.python_path)
    return Prepared(
        layers, (str(cache),),
        (Tree(f"/{interpreter.TOP}", tuple(range(len(layers)))),),
        () if about.system_packages else python.hidden,
        values, about.list_name, about.with_,
    )  # fmt: skip
