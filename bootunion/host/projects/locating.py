"""Chooses, for each project, the wheel that fits best, and says where it may be had."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bootunion.errors import BootunionError

from .. import workers
from ..fetch.sources import SourceError
from ..wheels import describing
from ..wheels.interpreter import Interpreter
from . import indexes
from .bringing import Job
from .pipconfig import PipConfig
from .wanted import Candidate, Wanted

_AT_ONCE = 8  # pages that are asked for; each is small, and waits for its server


def locate_all(wanted: Sequence[Wanted], config: PipConfig, interpreter: Interpreter) -> list[Job]:
    """A job for each project. Raises BootunionError that names all that cannot be had."""
    jobs, errors = locate(wanted, config, interpreter)
    if errors:
        raise workers.all_of(errors, "wheels cannot be had")
    return jobs


def locate(
    wanted: Sequence[Wanted], config: PipConfig, interpreter: Interpreter
) -> tuple[list[Job], list[BootunionError]]:
    """A job for each project, and what is wrong with the others."""
    known, said = _ask(wanted, config)
    jobs: list[Job] = []
    errors: list[BootunionError] = []
    for one in wanted:
        # The lock's own places come last: what a directory here has need not come from far.
        places = [*known.get(one.name, ()), *one.candidates]
        try:
            jobs.append(_job(one, places, interpreter))
        except BootunionError as error:
            if error.code == "wheel-missing" and said:
                text = f"{error.message} ({'; '.join(said)})"
                error = BootunionError(error.code, text, subject=error.subject)
            errors.append(error)
    return jobs, errors


def _ask(
    wanted: Sequence[Wanted], config: PipConfig
) -> tuple[dict[str, list[Candidate]], list[str]]:
    """All wheels that the sources have of these projects, and what sources say that fail."""
    names = {one.name for one in wanted}
    found: dict[str, list[Candidate]] = {}
    said: list[str] = []

    def ask(index: str, name: str) -> list[Candidate]:
        web = indexes.Web(config)  # connections belong to one thread
        try:
            return indexes.in_index(web, index, name) if name else indexes.in_links(web, index)
        except SourceError as error:
            said.append(f"{index} {error}")
            return []

    questions = [(place, "") for place in config.sources.find_links]
    questions += [(index, one.name) for one in wanted if one.everywhere
                  for index in config.sources.indexes]  # fmt: skip
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for answer in threads.map(lambda question: ask(*question), questions):
            for candidate in answer:
                # A project's page may name files of other ones, too: pip passes them over.
                name = canonicalize_name(candidate.file_name.partition("-")[0])
                if name in names:
                    found.setdefault(name, []).append(candidate)
    return found, sorted(set(said))


def _job(wanted: Wanted, places: Iterable[Candidate], interpreter: Interpreter) -> Job:
    """The best wheel of those with a digest that will do, or of which nobody says the digest.

    Raises BootunionError wheel-missing, wheel-unfit, sdist-only.
    """
    right = [one for one in places if not one.sha256 or one.sha256 in wanted.hashes]
    ranked: dict[int, list[Candidate]] = {}
    for one in right:
        with contextlib.suppress(BootunionError):
            named = describing.parse_name(one.file_name)
            rank = describing.rank(named.tags, interpreter)
            if named.project == wanted.name and _same(named.version, wanted.version) and rank >= 0:
                ranked.setdefault(rank, []).append(one)
    if not ranked:
        raise _none(wanted, right, interpreter)
    # The same tags may stand on several builds; all that may be the wanted one are tried. Those
    # whose digest is known come first, and of them those that are here.
    best = ranked[min(ranked)]
    best.sort(key=lambda one: (not one.sha256 and indexes.local(one.place) is None,
                               indexes.local(one.place) is None, not one.sha256))  # fmt: skip
    return Job(wanted, tuple(dict.fromkeys(best)), wanted.hashes)


def _same(found: Version, wanted: str) -> bool:
    try:
        version = Version(wanted)
    except InvalidVersion:
        return not wanted
    # "==1.0" takes 1.0+local, too (PEP 440); a lock file's own version says all of it.
    return version in (found, Version(found.public))


def _none(wanted: Wanted, right: Sequence[Candidate], interpreter: Interpreter) -> BootunionError:
    if right and any(one.sha256 for one in right):
        text = (
            f"none of its {len(right)} wheels is for Python {interpreter.version} on this machine"
        )
        return BootunionError("wheel-unfit", text, subject=wanted.title)
    if wanted.sdist:
        text = "there is only a source distribution of it"
        return BootunionError("sdist-only", text, subject=wanted.title)
    text = "no source has a wheel of it with a digest that is asked for"
    return BootunionError("wheel-missing", text, subject=wanted.title)
