"""Starts a program in a root of packages: what `bootunion run` and `bootunion shell` do.

Apart from the command line, whose library takes longer to load than all of this: `host.start`
comes here directly for words that it understands by itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bootunion.errors import BootunionError
from bootunion.host import again, console, places
from bootunion.systemlist import Layer

OWN_FAILURE = 125
"""The exit status when the program was not started, as of env(1) and container tools."""


class Asked(NamedTuple):
    """The options of `bootunion run`, as they are named there."""

    store_path: Path
    trust_path: Path
    list_name: str = ""
    with_: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    project: Path | None = None
    pure: bool = False
    own_processes: bool | None = None
    only_plan: bool = False
    sources: tuple[str, ...] = ()


def for_project(project: str) -> Asked:
    """What `bootunion run --project PROJECT` asks for, with its defaults.

    Environment variables that stand for options are not heeded: who sets them comes by click.
    """
    return Asked(places.STORE, places.machine_trust(), project=Path(project))


def start(command: Sequence[str], asked: Asked) -> int:
    """Run `command` in the root that was asked for: its exit status, or `OWN_FAILURE`."""
    from bootunion.host.processes import choosing, entering, searching, selecting, viewing  # noqa: PLC0415

    wanted = selecting.Wanted(asked.list_name, asked.with_, asked.without, asked.pure)
    search: Sequence[Any] = ()
    try:
        prepared = _prepare(asked.project) if asked.project is not None else None
        if prepared is not None:
            wanted = wanted._replace(
                list_name=asked.list_name or prepared.list_name,
                with_=(*asked.with_, *prepared.with_),
            )
        if prepared is None or any(wanted):
            search = searching.places(asked.store_path, asked.trust_path)
            selected = selecting.select(
                wanted, search, _booted(search), _fetcher(search[-1], asked.sources)
            )  # fmt: skip
            view = viewing.view(
                selected, pure=asked.pure, processes=asked.own_processes is not False
            )
        if prepared is not None:
            from bootunion.host.projects import rooting  # noqa: PLC0415

            if not any(wanted):
                selected, view = (
                    rooting.NOTHING,
                    rooting.view(processes=asked.own_processes is True),
                )
            selected, view, search = rooting.add(prepared, selected, view, search)
        if asked.only_plan:
            for step in choosing.plan(selected, view):
                print(step.describe())
            return 0
        with console.terminal_progress() as reporter:
            job = choosing.job(selected, view, search, reporter)
        os.environ["BOOTUNION_ROOT"] = _title(wanted, asked.project)
        variables = prepared.environment if prepared is not None else {}
        os.environ.update(variables)
        images = [search[store].store.packages / layer.file_name
                  for layer, store in selected.picks]  # fmt: skip
        again.remember(
            job, until=selected.until,
            watched=[*_watched(wanted, asked, search), *map(str, images)],
            names=("BOOTUNION_ROOT", choosing.VERIFICATION, *variables),
        )  # fmt: skip
        return entering.start(job, command)
    except BootunionError as error:
        console.refusal(error)
        return OWN_FAILURE


def _title(wanted: Any, project: Path | None) -> str:
    return wanted.title if project is None else project.resolve().name


def _watched(wanted: Any, asked: Asked, search: Sequence[Any]) -> Iterator[str]:
    """The paths, but for the packages' images, that a start was worked out from."""
    from bootunion.host import marking  # noqa: PLC0415
    from bootunion.host.processes import searching  # noqa: PLC0415

    name = wanted.list_name.partition("@")[0]
    yield from ("/", "/etc", "/dev/mapper/control", marking.BOOT_REPORT, wanted.list_name)
    for anchor in (asked.trust_path, searching.user_keys() / "trust"):
        yield str(anchor / "trust.json")
    yield str(searching.user_store() / "packages")
    for place in search:
        top = place.store.path
        for below in ("packages", "lists", f"lists/{name}", f"lists/{name}/current", "trust"):
            yield str(top / below)
    if asked.project is not None:
        from bootunion.host import projects  # noqa: PLC0415

        yield from projects.depends(asked.project, os.environ)


def _prepare(project: Path) -> Any:
    """What a project needs, fetched and imported where it is missing."""
    from bootunion.host import projects  # noqa: PLC0415

    with console.transfer() as bar:
        return projects.prepare(project, bar)


def _booted(search: Sequence[Any]) -> Any:
    """The list that this machine runs, if it runs one of the search path's."""
    from bootunion.host import references  # noqa: PLC0415

    for place in search:
        try:
            return references.booted(place.store, place.trusted)
        except BootunionError as error:
            if error.code == "not-booted":
                return None
            refused = error
    raise refused


def _fetcher(place: Any, sources: tuple[str, ...]) -> Callable[[Sequence[Layer]], None]:
    """What brings packages that a list lacks, into the last store of the search path."""

    def fetch(layers: Sequence[Layer]) -> None:
        from bootunion.host.commands.fetches import known_sources  # noqa: PLC0415
        from bootunion.host.fetch import fetching  # noqa: PLC0415

        orders = fetching.Orders(known_sources(sources))
        with console.transfer() as bar:
            progress = fetching.Progress(bar.begin, bar.came, bar.done)
            fetching.bring_all(place.store, place.trusted, orders, layers, progress)

    return fetch
