"""What a person calls a list: its name, a generation of it, a file, or the one that is running."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from bootunion import systemlist, trust
from bootunion.errors import BootunionError
from bootunion.systemlist import SystemList

from . import bounded, marking, reading
from .store import Store

RUNNING = "running"
HELP = "LIST, LIST@GENERATION, `running` (what this machine booted) or a list's file"


def is_stored(text: str) -> bool:
    """Whether a text is LIST or LIST@GENERATION: a list of a store."""
    name, at, generation = text.partition("@")
    numbered = systemlist.GENERATION.match(generation)
    return systemlist.LIST_NAME.match(name) and numbered == bool(at)


def booted(store: Store, trusted: trust.Trust, report: str = marking.BOOT_REPORT) -> SystemList:
    """The list that this machine runs; with its index only where it was united by it.

    Raises BootunionError not-booted, or as the agent would.
    """
    running = marking.booted(report)
    system, _ = reading.read_list(store, trusted, running.name, running.generation)
    return system if running.indexed else system._replace(index_layer=None)


class Found(NamedTuple):
    """A list that was found and whose signature holds. `stored`: it lies in the store."""

    system: SystemList
    signers: tuple[str, ...]
    stored: bool


def find(reference: str, store: Store, trusted: trust.Trust) -> Found:
    """The list that `reference` means. Raises BootunionError name-invalid, or as the agent would.

    A generation that is called `running` as a list's name is asked for as `running@N`.
    """
    if reference == RUNNING:
        booted = marking.booted()
        return Found(*reading.read_list(store, trusted, booted.name, booted.generation), True)
    if "/" in reference or reference.endswith(".json"):
        return _from_file(Path(reference), trusted)
    name, at, number = reference.partition("@")
    if not systemlist.LIST_NAME.match(name):
        raise BootunionError("name-invalid", f"{name!r} is not the name of a list")
    if at and not systemlist.GENERATION.match(number):
        raise BootunionError("name-invalid", f"{number!r} is not the number of a generation")
    return Found(*reading.read_list(store, trusted, name, int(number or 0)), True)


def _from_file(path: Path, trusted: trust.Trust) -> Found:
    data = bounded.read(path, systemlist.MAX_SIZE, large="file-invalid")
    return Found(*reading.open_list(data, trusted, subject=str(path)), stored=False)
