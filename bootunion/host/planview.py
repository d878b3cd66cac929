"""`bootunion plan`: gathers what the plan needs from a store and shows it."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from bootunion import checks, choice, manifest, merge, operations, plan, systemlist, trust
from bootunion.errors import BootunionError
from bootunion.merge import Namespace
from bootunion.systemlist import Layer, SystemList

from . import console
from .store import Store

# Kernel memory that one mounted package pins, measured on two CPUs with 32 KiB blocks
# (docs/measurements.md); bytes.
_MEMORY_PER_LAYER = 840 << 10


class Row(NamedTuple):
    """One layer with what the manifests and contents tell about it."""

    layer: Layer
    paths: int
    hidden: int
    problem: str


class Preview(NamedTuple):
    """A plan with everything that is shown of it."""

    system: SystemList
    signers: tuple[str, ...]
    rows: tuple[Row, ...]
    merged: Namespace
    findings: tuple[checks.Finding, ...]
    refusals: tuple[BootunionError, ...]
    steps: tuple[operations.Operation, ...]

    @property
    def boots(self) -> bool:
        """Whether nothing was found that stops the boot."""
        fatal = any(one.severity == checks.FATAL for one in self.findings)
        return not (fatal or self.refusals or any(row.problem for row in self.rows))


def now() -> int:
    """The clock's time, seconds since 1970."""
    return int(time.time())


def refusals(system: SystemList, kernel: str) -> tuple[BootunionError, ...]:
    """Why a machine of this architecture that runs `kernel` would refuse the list now."""
    machine = plan.Machine(os.uname().machine, kernel or system.kernel)
    return (*plan.refusals(system, machine), *choice.expired(system, now()))


def read_list(
    store: Store, trusted: trust.Trust, name: str, generation: int
) -> tuple[SystemList, tuple[str, ...]]:
    """A list whose signature holds, and its signers' key ids.

    Raises BootunionError as the agent would.
    """
    envelope, found = store.list_envelope(name, generation)
    subject = f"lists/{name}/{found}.json"
    payload, signers = trust.open_envelope(trusted, trust.ROLE_LIST, envelope, subject=subject)
    system = systemlist.decode(payload, subject=subject)
    systemlist.check_place(system, name, found, subject=subject)
    return system, signers


def read_manifest(store: Store, trusted: trust.Trust, layer: Layer) -> manifest.Manifest:
    """The manifest of a layer, checked against its signature and the list."""
    payload, _ = trust.open_envelope(
        trusted, trust.ROLE_PACKAGE, store.envelope(layer.stem), subject=layer.stem
    )
    described = manifest.decode(payload, subject=layer.stem)
    manifest.check_stem(described, layer.stem)
    if described.image != layer.image:
        text = "the manifest and the list differ about the image"
        raise BootunionError("manifest-mismatch", text, subject=layer.stem)
    return described


def preview(store: Store, trusted: trust.Trust, name: str, generation: int, kernel: str) -> Preview:
    """Work out everything about booting a stored list."""
    system, signers = read_list(store, trusted, name, generation)
    contents, problems = [], []
    for layer in system.layers:
        problem = ""
        entries = []
        try:
            entries = store.entries(read_manifest(store, trusted, layer))
            size = (store.packages / layer.file_name).stat().st_size
            if size != layer.image.size:
                problem = f"file-changed: {size} bytes, the list says {layer.image.size}"
        except FileNotFoundError:
            problem = "file-missing: the image is not in the store"
        except BootunionError as error:
            problem = f"{error.code}: {error.message}"
        contents.append(entries)
        problems.append(problem)
    merged = merge.merge(contents)
    hidden = [0] * len(system.layers)
    for one in merged.contested:
        hidden[one.loser] += 1
    rows = tuple(
        Row(layer, len(entries), lost, problem)
        for layer, entries, lost, problem in zip(
            system.layers, contents, hidden, problems, strict=True
        )
    )
    return Preview(
        system, signers, rows, merged, checks.check(system, merged),
        refusals(system, kernel), plan.for_boot(system, plan.Places()),
    )  # fmt: skip


def as_json(found: Preview) -> dict[str, object]:
    """The preview for `--json`."""
    system = found.system
    return {
        "list": {"name": system.name, "generation": system.generation, "floor": system.floor,
                 "kernel": system.kernel, "architecture": system.architecture,
                 "upper": system.upper, "signers": list(found.signers)},
        "boots": found.boots,
        "cost": _cost(system),
        "layers": [
            {"position": position, "name": row.layer.name, "version": row.layer.version,
             "size": row.layer.image.size, "root_hash": row.layer.image.root_hash,
             "need": row.layer.need, "paths": row.paths, "hidden": row.hidden,
             "problem": row.problem}
            for position, row in enumerate(found.rows)
        ],
        "contested": [
            {"path": f"/{one.path}", "winner": system.layers[one.winner].name,
             "loser": system.layers[one.loser].name, "kind": one.kind}
            for one in found.merged.contested
        ],
        "findings": [one._asdict() for one in found.findings],
        "refusals": [one.as_json() for one in found.refusals],
    }  # fmt: skip


def _cost(system: SystemList) -> dict[str, int]:
    count = len(system.layers)
    return {
        "layers": count,
        "loop_devices": count,
        "verity_devices": count,
        "disk_bytes": sum(layer.image.size for layer in system.layers),
        "kernel_memory_bytes": count * _MEMORY_PER_LAYER,
    }


def show(found: Preview) -> None:
    """The preview for people."""
    system, cost = found.system, _cost(found.system)
    title = f"list {system.name} generation {system.generation}, top first"
    rows = [["-", f"({system.upper} upper)", "", "", "", "", ""]] if system.upper != "none" else []
    for position, row in enumerate(found.rows):
        layer = row.layer
        rows.append([
            str(position), layer.name, layer.version, console.human_size(layer.image.size),
            str(row.paths), str(row.hidden) if row.hidden else "",
            row.problem or f"{layer.image.root_hash[:16]}…",
        ])  # fmt: skip
    columns = ["#", "package", "version", "size", "paths", "hidden", "root hash"]
    console.show_table(title, columns, rows, right=("#", "size", "paths", "hidden"))
    kinds = {kind: sum(one.kind == kind for one in found.merged.contested)
             for kind in (merge.SAME, merge.METADATA, merge.CONTENT, merge.TYPE)}  # fmt: skip
    lines = [
        "",
        f"costs    {cost['layers']} loop and {cost['verity_devices']} verity devices, "
        f"{console.human_size(cost['disk_bytes'])} of packages, about "
        f"{console.human_size(cost['kernel_memory_bytes'])} of kernel memory on two CPUs",
        f"union    {len(found.merged.paths)} paths; shadowed: "
        + ", ".join(f"{count} {kind}" for kind, count in kinds.items()),
        f"kernel   {system.kernel or 'any'} ({system.architecture})",
        f"signed   by {', '.join(signer[:16] for signer in found.signers)}",
    ]
    lines += [f"{one.severity:8} {one.path}: {one.text} [{one.code}]" for one in found.findings]
    lines += [f"refused  {one} [{one.code}]" for one in found.refusals]
    lines.append("verdict  this root boots" if found.boots else "verdict  this root does NOT boot")
    print("\n".join(lines))


def show_operations(found: Preview, as_json: bool) -> None:
    """Exactly what the agent will do, in order."""
    if as_json:
        steps = [{"operation": operations.step_name(one), **one._asdict()} for one in found.steps]
        console.show_json(steps)
    else:
        for number, one in enumerate(found.steps, 1):
            print(f"{number:4}  {one.describe()}")
