"""Finds what was asked for in the system's store, and believes what the system's keys signed."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from bootunion import dsse, manifest, naming, package, process, systemlist, trust
from bootunion.errors import BootunionError
from bootunion.initrd.store import Store
from bootunion.manifest import Manifest
from bootunion.naming import Named
from bootunion.opening import open_list, open_manifest
from bootunion.systemlist import Layer, SystemList

from . import policy
from .policy import Stems
from .protocol import Granted, Request

_MOST_NAMES = 1 << 17
_MOST_CANDIDATES = 256


class Places(NamedTuple):
    """Where the system's store, trust and boot report are. Of the trust the first that is there."""

    store: str = "/pkgs"
    trust: tuple[str, ...] = ("/etc/bootunion/trust", "/run/bootunion/trust")
    report: str = "/run/bootunion/boot.json"
    kept_index: str = process.INDEX


class Selected(NamedTuple):
    """The layers of a process root, top first, and what the client is told of them.

    With `base`, the machine's list lies below them, by its index.
    """

    layers: tuple[Layer, ...]
    granted: Granted
    base: str = ""


def select(request: Request, store: Store, places: Places) -> Selected:
    """What a request comes to.

    Raises BootunionError: what the agent would say of the trust store, the list or a manifest, and
    helper-request-invalid.
    """
    trusted = read_trust(store, places)
    system = _read_list(store, trusted, request) if request.list_name else None
    listed = _present(store, system.layers) if system else []
    above: list[Manifest] = []
    if request.with_:
        allowed = naming.fitting(os.uname().machine)
        stems = Stems(_stems(store))
        above = [_find(store, trusted, naming.parse(one), stems, allowed) for one in request.with_]
    without = [naming.parse(one) for one in request.without]
    whole = _index(system, places) if policy.is_whole(above, listed, without) else None
    layers = policy.unite(above, () if whole else listed, without, whole)
    hashes = tuple(one.image.root_hash for one in (*layers, *([whole] if whole else ())))
    title = (system.name, system.generation) if system else ("", 0)
    return Selected(layers, Granted(*title, hashes), places.kept_index if whole else "")


def _index(system: SystemList | None, places: Places) -> Layer | None:
    """The index of a list, where it is what this machine booted by it."""
    if system is None or system.index_layer is None:
        return None
    facts = _report(places.report)
    booted = facts.get("list", {})
    same = (booted.get("name"), booted.get("generation")) == (system.name, system.generation)
    return system.index_layer if same and facts.get("union") == "index" else None


def read_trust(store: Store, places: Places) -> trust.Trust:
    """What this machine believes, and no less than it believed when it booted.

    Raises BootunionError as `trust.load`. A newer version that is refused is told in the log.
    """
    directory = next((one for one in places.trust if os.path.isdir(one)), places.trust[0])
    path = f"{directory}/{trust.FILE_NAME}"

    def in_store(version: int) -> bytes:
        return store.read(trust.DIRECTORY, f"{version}.json", limit=trust.MAX_SIZE)

    def beside(version: int) -> bytes:
        with Store(directory) as anchors:
            return anchors.read(f"{version}.json", limit=trust.MAX_SIZE)

    try:
        with open(path, "rb") as file:
            anchor = file.read(trust.MAX_SIZE + 1)
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise BootunionError("file-missing", text, subject=path) from None
    seen = trust.Seen(_believed(places.report))
    chain = trust.load(anchor, [in_store, beside], seen=seen, now=int(time.time()), subject=path)
    for refusal in chain.refusals:
        print(f"refused: [{refusal.code}] {refusal}", file=sys.stderr)
    return chain.trust


def _believed(report: str) -> int:
    """The version of the trust store that the agent believed; 0 on a machine without an agent."""
    try:
        return int(_report(report).get("trust", 0))
    except (ValueError, TypeError):
        raise _damaged(report) from None


def _report(report: str) -> dict[str, Any]:
    """What the agent said of this boot; nothing on a machine without an agent."""
    try:
        with open(report, "rb") as file:
            facts = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise _damaged(report) from None
    if not isinstance(facts, dict) or not isinstance(facts.get("list", {}), dict):
        raise _damaged(report)
    return facts


def _damaged(report: str) -> BootunionError:
    # It is root's own file: damaged, nobody knows what was believed.
    return BootunionError("not-booted", "cannot be read as the agent's report", subject=report)


def _read_list(store: Store, trusted: trust.Trust, request: Request) -> SystemList:
    name = request.list_name
    generation = request.generation or store.current(name)
    subject = f"lists/{name}/{generation}.json"
    data = store.read("lists", name, f"{generation}.json", limit=systemlist.MAX_SIZE)
    system, _ = open_list(data, trusted, subject=subject)
    systemlist.check_place(system, name, generation, subject=subject)
    for refusal in process.refusals(system, os.uname().machine, int(time.time())):
        raise refusal
    return system


def _present(store: Store, layers: Iterable[Layer]) -> list[Layer]:
    """The layers without the optional ones that the store lacks."""
    return [one for one in layers if one.need != systemlist.OPTIONAL or _has(store, one)]


def _has(store: Store, layer: Layer) -> bool:
    try:
        fd, _ = store.open("packages", layer.file_name)
    except BootunionError:
        return False
    os.close(fd)
    return True


def _stems(store: Store) -> list[str]:
    """The stems of the packages that have a manifest, in no order."""
    try:
        place = os.open(
            "packages", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
            dir_fd=store.fd,
        )  # fmt: skip
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise BootunionError("file-missing", text, subject="packages") from None
    suffix = package.MANIFEST_SUFFIX
    try:
        with os.scandir(place) as entries:
            names = [entry.name for entry in itertools.islice(entries, _MOST_NAMES)]
    finally:
        os.close(place)
    return [one.removesuffix(suffix) for one in names
            if one.endswith(suffix) and package.FILE_NAME.match(one)]  # fmt: skip


def _find(
    store: Store, trusted: trust.Trust, named: Named, stems: Stems, architectures: frozenset[str]
) -> Manifest:
    """The signed manifest of a package that was asked for."""
    candidates = stems.of(named)
    if len(candidates) > _MOST_CANDIDATES:
        text = f"the store has {len(candidates)} of that name: name the version, too"
        raise BootunionError("helper-request-invalid", text, subject=named.text)
    signed: list[Manifest] = []
    refused: list[BootunionError] = []
    for stem in candidates:
        try:
            signed.append(_manifest(store, trusted, stem))
        except BootunionError as error:
            refused.append(error)
    found = policy.newest(named, signed, architectures)
    if found is None:
        # Whoever can write to the store can put unsigned ones beside a signed one: they only count
        # where there is nothing else.
        raise refused[0] if refused else policy.missing(named)
    return found


def _manifest(store: Store, trusted: trust.Trust, stem: str) -> Manifest:
    name = stem + package.MANIFEST_SUFFIX
    data = store.read("packages", name, limit=manifest.MAX_SIZE)
    return open_manifest(dsse.decode(data, subject=name), trusted, stem)
