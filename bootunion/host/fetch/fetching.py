"""Brings a list and every package of it that the store lacks, several at once."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from bootunion import systemlist, trust
from bootunion.errors import BootunionError
from bootunion.systemlist import Layer, SystemList

from .. import reading, workers
from ..store import Store
from . import transfer
from .sources import DEFAULT_TIMEOUT, Source, parse


class Progress(NamedTuple):
    """How far it is: `begin` gets all bytes to come, `came` all that came, `done` a package."""

    begin: Callable[[int, int], None]
    came: Callable[[int], None]
    done: Callable[[str], None]


class Fetched(NamedTuple):
    """What was done: packages that were brought, those that were there, bytes, seconds."""

    system: SystemList
    brought: int
    present: int
    received: int
    seconds: float


class Orders(NamedTuple):
    """What to fetch with: sources as a person writes them, and how patiently."""

    sources: tuple[str, ...]
    timeout: float = DEFAULT_TIMEOUT
    jobs: int = 0

    def open(self) -> list[Source]:
        """The sources. Raises BootunionError source-invalid."""
        return [parse(one, timeout=self.timeout) for one in self.sources]


def fetch(
    store: Store, trusted: trust.Trust, orders: Orders, name: str, generation: int,
    progress: Progress,
) -> Fetched:  # fmt: skip
    """Bring a list with all its packages; generation 0 is the one that the sources call current.

    The list becomes the store's current one when all its packages are there, not before. Raises
    BootunionError source-failed, disk-full, or what is wrong with the list.
    """
    store.create()
    system, envelope = _list(trusted, orders.open(), name, generation)
    missing = [one for one in system.packages if not is_there(store, one)]
    progress.begin(len(missing), sum(one.image.size for one in missing))
    start = time.monotonic()
    received = bring_all(store, trusted, orders, missing, progress)
    store.add_list(system.name, system.generation, envelope)
    present = len(system.packages) - len(missing)
    return Fetched(system, len(missing), present, received, time.monotonic() - start)


def is_there(store: Store, layer: Layer) -> bool:
    """Whether the store has the package: its manifest comes last, and the size is right."""
    try:
        size = (store.packages / layer.file_name).stat().st_size
        return size == layer.image.size and (store.packages / f"{layer.stem}.json").exists()
    except OSError:
        return False


def _list(
    trusted: trust.Trust, places: Sequence[Source], name: str, generation: int
) -> tuple[SystemList, bytes]:
    """A list that somebody trusted has signed, and its bytes."""

    def get(source: Source) -> tuple[SystemList, bytes]:
        wanted = generation or _current(source, name)
        path = f"lists/{name}/{wanted}.json"
        data = transfer.read_all(source, path, systemlist.MAX_SIZE)
        try:
            system, _ = reading.open_list(data, trusted, subject=path)
            systemlist.check_place(system, name, wanted, subject=path)
        except BootunionError as error:
            raise transfer.WrongBytesError(f"gives what is refused: {error.message}") from None
        return system, data

    return transfer.ask(places, f"list {name}", get)


def _current(source: Source, name: str) -> int:
    text = transfer.read_all(source, f"lists/{name}/current", 32).decode("ascii", "replace").strip()
    if not systemlist.GENERATION.match(text):
        raise transfer.WrongBytesError("names no generation as the current one")
    return int(text)


def bring_all(
    store: Store, trusted: trust.Trust, orders: Orders, layers: Sequence[Layer],
    progress: Progress,
) -> int:  # fmt: skip
    """Bring packages; gives the bytes received. All that can be had are had, then errors are told.

    Raises BootunionError.
    """
    if not layers:
        return 0
    received = multiprocessing.Value("q", 0)
    errors: list[BootunionError] = []
    count = min(orders.jobs or _most(), len(layers))
    # What workers have fetched when they are stopped stays: it is taken up again.
    with workers.pool(count, _Worker.start, orders, received) as pool:
        waiting: dict[Future[None], Layer] = {
            pool.submit(_bring, layer, store.path, trusted): layer
            for layer in sorted(layers, key=lambda one: one.image.size, reverse=True)
        }
        workers.heed()
        for layer, result in workers.collect(
            waiting, "fetches", lambda one: one.stem, lambda: progress.came(received.value)
        ):
            if isinstance(result, BootunionError):
                errors.append(result)
            else:
                progress.done(layer.name)
    if errors:
        raise workers.all_of(errors, "packages were not fetched")
    return int(received.value)


def _most() -> int:
    # Two for each core: one waits for its server while the other one hashes.
    return 2 * (os.cpu_count() or 1)


class _Worker:
    """What a worker process has: its own connections, and the count that all share."""

    sources: Sequence[Source] = ()
    received: Any = None

    @classmethod
    def start(cls, orders: Orders, received: Any) -> None:
        workers.die_at_once()
        cls.sources, cls.received = orders.open(), received

    @classmethod
    def count(cls, number: int) -> None:
        with cls.received.get_lock():
            cls.received.value += number


def _bring(layer: Layer, store: Any, trusted: trust.Trust) -> None:
    transfer.bring(transfer.Job(layer, _Worker.sources, Store(store), trusted), _Worker.count)
