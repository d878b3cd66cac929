"""Brings wheels: each is fetched, held against its digest, imported and signed; several at once."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from bootunion.errors import BootunionError
from bootunion.manifest import Manifest

from .. import workers
from ..fetch import transfer
from ..fetch.sources import SourceError
from ..signing import Signer
from ..store import Store
from ..wheels import importing
from ..wheels.interpreter import Interpreter
from . import cached, indexes
from .pipconfig import PipConfig
from .wanted import Candidate, Wanted

if TYPE_CHECKING:
    from . import Progress

_MOST_BYTES = 8 << 30


class Job(NamedTuple):
    """A wheel to bring: one of `places`, which are the same wheel, with one of `hashes`."""

    wanted: Wanted
    places: tuple[Candidate, ...]
    hashes: frozenset[str]


class Tools(NamedTuple):
    """What a worker works with."""

    store: Path
    signer: Signer
    interpreter: Interpreter
    config: PipConfig


def bring(
    jobs: Sequence[Job], tools: Tools, progress: Progress, count: int = 0
) -> dict[str, Manifest]:
    """The packages by their projects' names. All that can be had are had, then errors are told.

    Raises BootunionError hash-mismatch, source-failed, wheel-invalid …
    """
    made: dict[str, Manifest] = {}
    errors: list[BootunionError] = []
    if not jobs:
        return made
    progress.begin(len(jobs), sum(_size(job) for job in jobs))
    received = multiprocessing.Value("q", 0)
    # Two for each core: one waits for its server while another one compiles.
    most = min(count or 2 * (os.cpu_count() or 1), len(jobs))
    with workers.pool(most, _Worker.start, tools, received) as pool:
        waiting: dict[Future[Manifest], Job] = {
            pool.submit(_bring, job): job for job in sorted(jobs, key=_size, reverse=True)
        }
        workers.heed()
        for job, result in workers.collect(
            waiting, "imports", lambda one: one.wanted.name, lambda: progress.came(received.value)
        ):
            if isinstance(result, BootunionError):
                errors.append(result)
            else:
                made[job.wanted.name] = result
                progress.done(job.wanted.name)
    if errors:
        raise workers.all_of(errors, "wheels were not brought")
    return made


def _size(job: Job) -> int:
    return max((one.size for one in job.places), default=0)


class _Worker:
    """What a worker process has: its own connections, and the count that all share."""

    tools: Tools
    web: indexes.Web
    received: Any = None

    @classmethod
    def start(cls, tools: Tools, received: Any) -> None:
        cls.tools, cls.received = tools, received
        cls.web = indexes.Web(tools.config)
        workers.clear_away_first()

    @classmethod
    def count(cls, number: int) -> None:
        with cls.received.get_lock():
            cls.received.value += number


def _bring(job: Job) -> Manifest:
    tools = _Worker.tools
    store = Store(tools.store)
    said = []
    with workers.at_work(), store.workspace() as workspace:
        for place in job.places:
            file = workspace / place.file_name
            try:
                sha256 = fetch(_Worker.web, place, file, job.hashes, _Worker.count)
            except SourceError as error:
                said.append((place, error))
                continue
            made = importing.import_wheel(
                file, tools.store, tools.signer, tools.interpreter, sha256=sha256, threads=1
            )
            cached.note(store, made, tools.interpreter.layout.digest)
            return made
    raise _refusal(job, said)


def _refusal(job: Job, said: Sequence[tuple[Candidate, SourceError]]) -> BootunionError:
    wrong = [one for _, one in said if isinstance(one, transfer.WrongBytesError)]
    text = "; ".join(f"{place.place} {error}" for place, error in said)
    code = "hash-mismatch" if wrong else "source-failed"
    return BootunionError(code, text or "no source is known", subject=job.wanted.title)


def fetch(
    web: indexes.Web, place: Candidate, file: Path, hashes: frozenset[str],
    count: Callable[[int], None],
) -> str:  # fmt: skip
    """Bring a wheel to `file`; gives its SHA-256, which is one of `hashes`. Raises SourceError."""
    with file.open("wb") as target:
        got = _Got(target)

        def read(_: object) -> None:
            before = got.size
            try:
                got.go_on(web, place, count)
            except SourceError as error:
                if error.passing and got.size > before:
                    raise transfer.CutOffError(str(error), passing=True) from None
                raise

        transfer.patiently(web, read)
    found = got.state.hexdigest()
    if found not in hashes:
        raise transfer.WrongBytesError(f"gives a file of SHA-256 {found}, which is not asked for")
    return found


class _Got:
    """What came of a wheel until now, hashed as it comes."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self.state = hashlib.sha256()
        self.size = 0

    def go_on(self, web: indexes.Web, place: Candidate, count: Callable[[int], None]) -> None:
        most = place.size or _MOST_BYTES
        with web.get(place.place, start=self.size) as stream:
            if stream.offset != self.size:  # a server without ranges begins anew
                self.state, self.size = hashlib.sha256(), 0
                self._target.seek(0)
                self._target.truncate()
            if stream.size > most or (place.size and stream.size not in (-1, place.size)):
                text = f"has {stream.size} bytes, {most} are expected"
                raise transfer.WrongBytesError(text)
            for chunk in stream.chunks:
                self.size += len(chunk)
                if self.size > most:
                    raise transfer.WrongBytesError(f"has more than {most} bytes")
                self.state.update(chunk)
                self._target.write(chunk)
                count(len(chunk))
        if self.size < max(stream.size, place.size):
            raise SourceError("breaks off", passing=True)
