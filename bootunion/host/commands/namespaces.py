"""Starting programs in a root of packages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from bootunion.errors import BootunionError
from bootunion.host import again, console
from bootunion.systemlist import Layer

from .options import DIRECTORY, list_names, sources_option, store_option, trust_option

OWN_FAILURE = 125
"""The exit status when the program was not started, as of env(1) and container tools."""


def _root_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--list", "list_name", default="", metavar="LIST|FILE",
                     shell_complete=list_names, help="The packages of a list (LIST@GENERATION)."),
        click.option("--with", "with_", multiple=True, metavar="PACKAGE",
                     help="One more package: NAME, NAME=VERSION or a root hash (repeatable)."),
        click.option("--without", multiple=True, metavar="PACKAGE",
                     help="Leave a package out (repeatable)."),
        click.option("--project", type=DIRECTORY, default=None,
                     help="The packages of the Python project in this directory, too."),
        click.option("--pure", is_flag=True,
                     help="Nothing but these packages: the system's own are not there."),
        click.option("--own-processes/--share-processes", default=None,
                     help="See one's own processes alone, or the machine's (default: own; "
                          "shared for a project that asks for no packages but its own)."),
        click.option("--plan", "only_plan", is_flag=True,
                     help="Print what would be done, and do nothing."),
        sources_option,
        store_option,
        trust_option,
    ):  # fmt: skip
        function = option(function)
    return function


@click.command(context_settings={"ignore_unknown_options": True})
@_root_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(command: tuple[str, ...], **wanted: Any) -> None:
    """Run COMMAND in a root of packages that only it and its children see.

    The packages come over the system's; with --pure they are all there is. Home directories, /tmp,
    devices and, but for --pure, /etc and /var are the machine's. Exit status, signals, terminal,
    working directory and environment pass through; 125 means that COMMAND was not started.

    \b
      bootunion run --with libfoo=2.0 -- ./program
      bootunion run --pure --list build@7 -- make
      bootunion run --project . -- python -m pytest
    """
    sys.exit(_run(command, **wanted))


@click.command()
@_root_options
def shell(**wanted: Any) -> None:
    """Start a shell in a root of packages: `run` with your $SHELL.

    The variable BOOTUNION_ROOT says inside which root it is, for a prompt.
    """
    sys.exit(_run((os.environ.get("SHELL") or "/bin/sh",), **wanted))


def _run(
    command: Sequence[str], list_name: str, with_: tuple[str, ...], without: tuple[str, ...],
    project: Path | None, pure: bool, own_processes: bool | None, only_plan: bool,
    sources: tuple[str, ...], store_path: Path, trust_path: Path,
) -> int:  # fmt: skip
    from bootunion.host.processes import choosing, entering, searching, selecting, viewing

    wanted = selecting.Wanted(list_name, with_, without, pure)
    search: Sequence[Any] = ()
    try:
        prepared = _prepare(project) if project is not None else None
        if prepared is not None:
            wanted = wanted._replace(
                list_name=list_name or prepared.list_name, with_=(*with_, *prepared.with_)
            )
        if prepared is None or any(wanted):
            search = searching.places(store_path, trust_path)
            selected = selecting.select(
                wanted, search, _booted(search), _fetcher(search[-1], sources)
            )  # fmt: skip
            view = viewing.view(selected, pure=pure, processes=own_processes is not False)
        if prepared is not None:
            from bootunion.host.projects import rooting

            if not any(wanted):
                selected, view = rooting.NOTHING, rooting.view(processes=own_processes is True)
            selected, view, search = rooting.add(prepared, selected, view, search)
        if only_plan:
            for step in choosing.plan(selected, view):
                print(step.describe())
            return 0
        with console.terminal_progress() as reporter:
            job = choosing.job(selected, view, search, reporter)
        os.environ["BOOTUNION_ROOT"] = wanted.title if project is None else project.resolve().name
        variables = prepared.environment if prepared is not None else {}
        os.environ.update(variables)
        images = [search[store].store.packages / layer.file_name
                  for layer, store in selected.picks]  # fmt: skip
        again.remember(
            job, until=selected.until,
            watched=[*_watched(wanted, project, search, trust_path), *map(str, images)],
            names=("BOOTUNION_ROOT", choosing.VERIFICATION, *variables),
        )  # fmt: skip
        return entering.start(job, command)
    except BootunionError as error:
        console.refusal(error)
        return OWN_FAILURE


def _watched(
    wanted: Any, project: Path | None, search: Sequence[Any], trust_path: Path
) -> Iterator[str]:
    """The paths, but for the packages' images, that a start was worked out from."""
    from bootunion.host import marking
    from bootunion.host.processes import searching

    name = wanted.list_name.partition("@")[0]
    yield from ("/", "/etc", "/dev/mapper/control", marking.BOOT_REPORT, wanted.list_name)
    for anchor in (trust_path, searching.user_keys() / "trust"):
        yield str(anchor / "trust.json")
    yield str(searching.user_store() / "packages")
    for place in search:
        top = place.store.path
        for below in ("packages", "lists", f"lists/{name}", f"lists/{name}/current", "trust"):
            yield str(top / below)
    if project is not None:
        from bootunion.host import projects

        yield from projects.depends(project, os.environ)


def _prepare(project: Path) -> Any:
    """What a project needs, fetched and imported where it is missing."""
    from bootunion.host import projects

    with console.transfer() as bar:
        return projects.prepare(project, bar)


def _booted(search: Sequence[Any]) -> Any:
    """The list that this machine runs, if it runs one of the search path's."""
    from bootunion.host import references

    for place in search:
        try:
            return references.find(references.RUNNING, place.store, place.trusted).system
        except BootunionError as error:
            if error.code == "not-booted":
                return None
            refused = error
    raise refused


def _fetcher(place: Any, sources: tuple[str, ...]) -> Callable[[Sequence[Layer]], None]:
    """What brings packages that a list lacks, into the last store of the search path."""

    def fetch(layers: Sequence[Layer]) -> None:
        from bootunion.host.fetch import fetching

        from .fetches import known_sources

        orders = fetching.Orders(known_sources(sources))
        with console.transfer() as bar:
            progress = fetching.Progress(bar.begin, bar.came, bar.done)
            fetching.bring_all(place.store, place.trusted, orders, layers, progress)

    return fetch
