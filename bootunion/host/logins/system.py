"""Roots of the system's packages, made by root for somebody else: a user, a service, a directory.

Packages and lists come from the system's store and need the system's keys: a person's own never
count here, whoever the environment says that this is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bootunion import process
from bootunion.errors import BootunionError
from bootunion.host import console, places, references, signing
from bootunion.host.processes import checking, choosing
from bootunion.host.processes.searching import Place
from bootunion.host.processes.selecting import Selected, Wanted, select
from bootunion.host.store import Store
from bootunion.systemlist import Layer, SystemList

STORE = Path("/pkgs")
REPORT = Path("/run/bootunion/boot.json")


class System(NamedTuple):
    """Where the system's store and trust store are, and the agent's report of this boot."""

    store: Path = STORE
    trust: Path = Path()
    report: Path = REPORT

    @property
    def anchor(self) -> Path:
        """The trust store; where none is named, the machine's own, else what it booted with."""
        return self.trust if self.trust != Path() else places.machine_trust()

    @property
    def search(self) -> tuple[Place, ...]:
        """The store, with the keys that it needs."""
        return (Place(Store(self.store), signing.read_trust(self.anchor, self.store)),)

    def booted(self, search: Sequence[Place]) -> SystemList | None:
        """The list that the machine runs, verified; None when it was booted in another way."""
        if not self.report.exists():
            return None
        place = search[0]
        return references.booted(place.store, place.trusted, str(self.report))


def packages(wanted: Wanted, system: System) -> Selected:
    """What is wanted of the system's packages. Raises BootunionError as `select` does."""
    search = system.search
    booted = None if wanted.pure else system.booted(search)
    return select(wanted, search, booted, _refuse)


def how(selected: Selected, system: System) -> str:
    """How the kernel gets at the packages; where it can't verify, they are read and checked now."""
    if checking.have_device_mapper():
        return process.VERITY
    memory = choosing.WORKSPACE.parent / "checked"
    checking.check(selected.picks, system.search, memory, console.Silent().step)
    return process.CHECKED


def _refuse(missing: Sequence[Layer]) -> None:
    names = ", ".join(layer.file_name for layer in missing)
    raise BootunionError("file-missing", "is not in the system's store", subject=names)
