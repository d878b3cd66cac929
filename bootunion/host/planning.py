"""Works out a root before it exists: what a list, its manifests and its contents tell.

Nothing is mounted, no image is read. `planview` shows a preview to people, `planjson` to programs.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from bootunion import checks, choice, merge, operations, plan, systemlist, trust
from bootunion.checks import Finding
from bootunion.contents import FILE, Entry
from bootunion.errors import BootunionError
from bootunion.manifest import Manifest
from bootunion.merge import Namespace
from bootunion.systemlist import Layer, SystemList

from . import approving, gathering, reading
from .approving import Approval
from .store import Store


class Gathered(NamedTuple):
    """What is known of one layer. `download` is bytes to fetch before it can be made or used."""

    manifest: Manifest | None
    entries: Sequence[Entry] = ()
    problem: str = ""
    present: bool = True
    download: int = 0


class Row(NamedTuple):
    """One layer with what the manifests and contents tell about it, its entries counted."""

    layer: Layer
    known: Gathered
    files: int
    paths: int
    wins: int
    loses: int

    @property
    def generated(self) -> bool:
        """Whether this is the generated layer."""
        described = self.known.manifest
        return described is not None and described.source.kind == "generated"

    @property
    def verified(self) -> bool:
        """Whether its signed manifest, its contents and its image's size fit together."""
        known = self.known
        return known.present and not known.problem and known.manifest is not None


class Preview(NamedTuple):
    """A plan with everything that is shown of it. `source` says where the list was had from.

    `index_known` is what is known of the list's index, None when it has none.
    """

    system: SystemList
    signers: tuple[str, ...]
    source: str
    rows: tuple[Row, ...]
    merged: Namespace
    findings: tuple[Finding, ...]
    refusals: tuple[BootunionError, ...]
    steps: tuple[operations.Operation, ...]
    index_known: Gathered | None = None

    @property
    def draft(self) -> bool:
        """Whether the list is not composed yet."""
        return self.source == SYSTEM_YAML

    @property
    def boots(self) -> bool:
        """Whether nothing was found that stops the boot."""
        fatal = any(one.severity == checks.FATAL for one in self.findings)
        known = (
            *(row.known for row in self.rows),
            *((self.index_known,) if self.index_known else ()),
        )
        problems = any(one.problem for one in known)
        return not (fatal or self.refusals or problems)

    @property
    def why(self) -> str:
        """Why the layers are united as they are."""
        count = len(self.system.layers)
        if self.system.index_layer:
            return (
                f"the list has an index, one file system of all names over {count} packages: "
                "no look-up depends on their number"
            )
        return f"the list has no index; {count} of the {systemlist.MAX_LAYERS} layers of an overlay"

    @property
    def by_file(self) -> int:
        """How many packages are mounted without devices, where their files are sealed."""
        return sum(isinstance(one, operations.BindFile) for one in self.steps)

    @property
    def digest(self) -> str:
        """The merged namespace's digest, "" while a layer's root hash is not known."""
        identities = [row.layer.image.root_hash for row in self.rows]
        return self.merged.digest(identities) if all(identities) else ""


STORE = "store"
FILE_SOURCE = "file"
SYSTEM_YAML = "system.yaml"


def now() -> int:
    """The clock's time, seconds since 1970."""
    return int(time.time())


def refusals(system: SystemList, kernel: str) -> tuple[BootunionError, ...]:
    """Why a machine of this architecture that runs `kernel` would refuse the list now."""
    machine = plan.Machine(os.uname().machine, kernel or system.kernel)
    return (*plan.refusals(system, machine), *choice.expired(system, now()))


def gather(store: Store, trusted: trust.Trust, system: SystemList) -> Iterator[Gathered]:
    """What the store has of each layer of a list, in the list's order."""
    for layer in system.layers:
        yield gather_one(store, trusted, layer)


def gather_index(store: Store, trusted: trust.Trust, system: SystemList) -> Gathered | None:
    """What the store has of a list's index, None when it has none."""
    return gather_one(store, trusted, system.index_layer) if system.index_layer else None


def gather_one(store: Store, trusted: trust.Trust, layer: Layer) -> Gathered:
    """What the store has of one package."""
    described, entries, problem, present = None, [], "", True
    try:
        described = reading.read_manifest(store, trusted, layer)
        entries = store.entries(described)
    except BootunionError as error:
        problem = f"{error.code}: {error.message}"
    try:
        size = (store.packages / layer.file_name).stat().st_size
        if size != layer.image.size and not problem:
            problem = f"file-changed: {size} bytes, the list says {layer.image.size}"
    except FileNotFoundError:
        present = False
        problem = problem or "file-missing: the image is not in the store"
    return Gathered(described, entries, problem, present, 0 if present else layer.image.size)


def preview(
    system: SystemList, gathered: Iterable[Gathered], *, signers: tuple[str, ...] = (),
    source: str = STORE, kernel: str = "", approve: Sequence[Approval] = (),
    index: Gathered | None = None,
) -> Preview:  # fmt: skip
    """Work out everything about booting `system`; `gathered` is in the order of its layers.

    `index` is what is known of the index of a list that has one. `kernel` is the release of the
    kernel that will run ("": the one that the list is for),
    `approve` what composing would approve in the list.
    """
    known: list[Gathered] = []
    counts: list[tuple[int, int]] = []

    def each() -> Iterator[Sequence[Entry]]:
        # One layer's entries at a time: what no path of the union shows is let go at once.
        for one in gathered:
            files = sum(entry.type == FILE for entry in one.entries)
            counts.append((files, max(len(one.entries) - 1, 0)))
            known.append(one._replace(entries=()))
            yield one.entries

    with gathering.many_values():
        merged = merge.merge(each())
    if approve:
        names = [layer.name for layer in system.layers]
        approved = approving.shadowings(approve, merged, names)
        system = system._replace(shadowings=(*system.shadowings, *approved))
    wins = Counter(layer for layer, _ in merged.paths.values())
    loses = Counter(layer for _, layer in {(one.path, one.loser) for one in merged.contested})
    rows = tuple(
        Row(layer, one, *count, wins[index], loses[index])
        for index, (layer, one, count) in enumerate(
            zip(system.layers, known, counts, strict=True)
        )
    )  # fmt: skip
    manifests = [one.manifest for one in known]
    return Preview(
        system, signers, source, rows, merged,
        checks.check(system, merged, manifests, composed=source != SYSTEM_YAML),
        refusals(system, kernel),
        plan.for_boot(system, plan.Places(), by_file=plan.mounts_files(kernel or system.kernel)),
        index,
    )  # fmt: skip


def of_stored(
    store: Store, trusted: trust.Trust, name: str, generation: int = 0, kernel: str = ""
) -> Preview:
    """The preview of a stored list. Raises BootunionError as the agent would."""
    system, signers = reading.read_list(store, trusted, name, generation)
    return preview(
        system, gather(store, trusted, system), signers=signers, kernel=kernel,
        index=gather_index(store, trusted, system),
    )  # fmt: skip
