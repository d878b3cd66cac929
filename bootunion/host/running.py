"""The list that a running machine was booted from, verified once more."""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bootunion import merge, plan, trust
from bootunion.contents import DIRECTORY, Entry
from bootunion.errors import BootunionError
from bootunion.merge import Namespace
from bootunion.systemlist import Layer, SystemList, generated_name

from . import marking, reading
from .store import Store


class Running(NamedTuple):
    """What a machine runs: `layers` are those that it was booted with, top first.

    `merged` is their merged namespace, `digest` what `Namespace.digest` has to give for it.
    `left_out` are the stems of the optional packages that it goes without.
    """

    system: SystemList
    layers: tuple[Layer, ...]
    contents: tuple[list[Entry], ...]
    merged: Namespace
    digest: str
    left_out: tuple[str, ...]

    @property
    def identities(self) -> list[str]:
        """The layers' root hashes, as `Namespace.digest` takes them."""
        return [layer.image.root_hash for layer in self.layers]

    @property
    def packages(self) -> tuple[Layer, ...]:
        """The layers, and the index behind them when the machine was booted by it."""
        return (*self.layers, self.system.index_layer) if self.system.index_layer else self.layers

    @property
    def name(self) -> str:
        """The list, for sentences."""
        return self.system.title


def read(store: Store, trusted: trust.Trust, report: Path, step: Callable[[str], None]) -> Running:
    """The list that the agent's report names, with every manifest and contents file checked.

    Raises BootunionError: not-booted, trust-rolled-back, what the agent or `bootunion plan` would
    say of the list, a manifest or contents, and namespace-mismatch when they do not make the
    namespace that was signed.
    """
    booted = marking.booted(str(report))
    facts = json.loads(booted.document)
    left_out = frozenset(facts.get("left_out", ()))
    if trusted.version < facts.get("trust", 0):
        text = f"it leads to version {trusted.version}; the boot believed {facts['trust']}"
        raise BootunionError("trust-rolled-back", text, subject="the trust store")
    system, _ = reading.read_list(store, trusted, booted.name, booted.generation)
    if facts.get("union") == plan.UNION_LAYERS:
        system = system._replace(index_layer=None)  # the kernel could not use it
    listed = []
    for layer in system.layers:
        listed.append(store.entries(reading.read_manifest(store, trusted, layer)))
        step(layer.name)
    merged = merge.merge(listed)
    digest = merged.digest([layer.image.root_hash for layer in system.layers])
    if digest != system.namespace:
        text = f"the packages' contents make the namespace {digest}, signed is {system.namespace}"
        raise BootunionError("namespace-mismatch", text, subject=system.title)
    present = [layer.stem not in left_out for layer in system.layers]
    layers = tuple(layer for layer, here in zip(system.layers, present, strict=True) if here)
    known = tuple(one for one, here in zip(listed, present, strict=True) if here)
    if not all(present):
        merged = merge.merge(known)
        digest = merged.digest([layer.image.root_hash for layer in layers])
    missing = tuple(layer.stem for layer in system.layers if layer.stem in left_out)
    return Running(system, layers, known, merged, digest, missing)


class Paths:
    """The paths of a merged namespace, to be asked what lies below a directory."""

    def __init__(self, merged: Namespace) -> None:
        self._sorted = sorted(merged.paths)

    def below(self, path: str) -> list[str]:
        """All paths below a directory, sorted."""
        # "0" follows "/": between the two bounds lies what begins with the directory and a slash.
        start = bisect.bisect_left(self._sorted, f"{path}/") if path else 1
        end = bisect.bisect_left(self._sorted, f"{path}0") if path else len(self._sorted)
        return self._sorted[start:end]


def homes(running: Running) -> dict[str, int]:
    """Directories that one package alone has → its position; the generated layer counts last.

    A file that was added to such a directory belongs to its package; nobody's is one in /etc.
    """
    found: dict[str, int] = {}
    generated = generated_name(running.system.name)
    for position, entries in enumerate(running.contents):
        if running.layers[position].name == generated:
            continue
        for entry in entries:
            if entry.type == DIRECTORY:
                found[entry.path] = -1 if entry.path in found else position
    return {path: position for path, position in found.items() if position >= 0}
