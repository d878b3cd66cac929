"""Which packages a process is to see: a list, packages more or less, over the system's or alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from bootunion import naming, process, versions
from bootunion.errors import BootunionError
from bootunion.manifest import Manifest
from bootunion.naming import Named
from bootunion.process import Pick
from bootunion.systemlist import OPTIONAL, Layer, SystemList

from .. import reading, references
from .searching import Place, locate


class Wanted(NamedTuple):
    """What was asked for. `list_name` is a reference to a list, or ""; `pure`: nothing else."""

    list_name: str = ""
    with_: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    pure: bool = False

    @property
    def title(self) -> str:
        """The wish in a few words, for a prompt."""
        said = [*([self.list_name] if self.list_name else []), *(f"+{one}" for one in self.with_),
                *(f"-{one}" for one in self.without)]  # fmt: skip
        return " ".join(said) or "system"


class Under(NamedTuple):
    """The machine's list as a whole, by the index that it booted with."""

    name: str
    generation: int
    index_layer: Layer


class Selected(NamedTuple):
    """What was found: packages top first. The first `above` come over what the machine runs.

    `alone` says that they make a root; else they come over the machine's, which runs no list. The
    named list expires at `until` (seconds since 1970, 0: never). With `under`, the machine's list
    lies below these first packages.
    """

    picks: tuple[Pick, ...]
    above: int
    alone: bool
    until: int = 0
    under: Under | None = None

    @property
    def base(self) -> process.Base | None:
        """What of the root is there already."""
        return process.Base(process.INDEX, self.above) if self.under else None


Fetch = Callable[[Sequence[Layer]], None]
"""Brings packages that are missing; raises BootunionError when it can't."""


def select(
    wanted: Wanted, search: Sequence[Place], booted: SystemList | None, fetch: Fetch
) -> Selected:
    """Find every package that is wanted.

    `booted` is the list that the machine runs, if it runs one; with its index only where it was
    united by it. A package takes the place of one of its name and architecture further down.

    Raises BootunionError package-missing, file-missing, or what is wrong with a list or manifest.
    """
    over = [find(spec, search) for spec in wanted.with_]
    until = 0
    if wanted.list_name:
        system = _list(wanted.list_name, search)
        until = system.expires
        over += _of_list(system, search, fetch)
    over = _once(over)
    names = {(pick.layer.name, pick.layer.architecture) for pick in over}
    under: list[Pick] = []
    whole = None if wanted.pure else _whole(booted, names, wanted.without)
    if booted is not None and not wanted.pure and whole is None:
        kept = [layer for layer in booted.layers if (layer.name, layer.architecture) not in names]
        under = _of_list(booted._replace(layers=tuple(kept)), search, fetch)
    _check_without(wanted.without, [*over, *under])
    over = [pick for pick in over if pick.layer.name not in wanted.without]
    under = [pick for pick in under if pick.layer.name not in wanted.without]
    picks = tuple(_once([*over, *under]))
    if not picks and whole is None:
        text = "no package is left: name a list or packages with --list and --with"
        raise BootunionError("package-missing", text)
    alone = wanted.pure or booted is not None
    return Selected(picks, len(over), alone=alone, until=until, under=whole)


def _whole(
    booted: SystemList | None, names: Collection[tuple[str, str]], without: Sequence[str]
) -> Under | None:
    """The machine's list by its index, where no package of it is replaced or left out."""
    if booted is None or booted.index_layer is None:
        return None
    if any((one.name, one.architecture) in names or one.name in without for one in booted.layers):
        return None
    return Under(booted.name, booted.generation, booted.index_layer)


def _once(picks: Iterable[Pick]) -> list[Pick]:
    return list({pick.layer.image.root_hash: pick for pick in reversed([*picks])}.values())[::-1]


def _check_without(without: Sequence[str], picks: Sequence[Pick]) -> None:
    known = {pick.layer.name for pick in picks}
    for name in without:
        if name not in known:
            text = "is not among the packages, so it can't be left out"
            raise BootunionError("package-missing", text, subject=name)


def _list(reference: str, search: Sequence[Place]) -> SystemList:
    """The list, of the first store that has it."""
    refused: BootunionError | None = None
    for place in search:
        try:
            system = references.find(reference, place.store, place.trusted).system
            for refusal in process.refusals(system, os.uname().machine, int(time.time())):
                raise refusal
            return system
        except BootunionError as error:
            # What a store has and should not have is worth more words than that one lacks it.
            if refused is None or refused.code == "file-missing":
                refused = error
    assert refused is not None, "there is no search path without a store"
    raise refused


def _of_list(system: SystemList, search: Sequence[Place], fetch: Fetch) -> list[Pick]:
    located = {layer: locate(layer, search) for layer in system.layers}
    missing = [layer for layer, pick in located.items() if pick is None and layer.need != OPTIONAL]
    if missing:
        fetch(missing)
        located.update({layer: locate(layer, search) for layer in missing})
    for layer in missing:
        if located[layer] is None:
            raise BootunionError("file-missing", "is in no store", subject=layer.file_name)
    return [pick for pick in located.values() if pick is not None]


def find(spec: str, search: Sequence[Place]) -> Pick:
    """The package that NAME, NAME=VERSION or the beginning of a root hash means: the newest.

    Raises BootunionError package-missing.
    """
    named = naming.parse(spec)
    refused: BootunionError | None = None
    found: list[tuple[tuple[object, ...], int, Manifest]] = []
    for number, place in enumerate(search):
        for stem in _stems(named, place):
            try:
                described = reading.signed_manifest(place.store, place.trusted, stem)
            except BootunionError as error:
                refused = error
                continue
            if _means(named, described):
                found.append((versions.key(described.version), -number, described))
    if found:
        _, number, best = max(found, key=lambda one: one[:2])
        layer = Layer(best.name, best.version, best.architecture, best.image)
        return Pick(layer, -number)
    if refused is not None:
        raise refused
    raise BootunionError("package-missing", "no store has this package", subject=spec)


def _stems(named: Named, place: Place) -> list[str]:
    if named.root_hash:
        return [stem for stem in place.store.stems() if stem.endswith(f"_{named.hint}")]
    return [stem for stem in place.store.stems() if stem.startswith(f"{named.name}_")]


def _means(named: Named, described: Manifest) -> bool:
    usable = described.architecture in naming.fitting(os.uname().machine)
    return named.fits(described) and (usable or bool(named.root_hash))
