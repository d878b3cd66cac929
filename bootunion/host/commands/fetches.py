"""Fetching packages from where others published them, and publishing one's own."""

from __future__ import annotations

from pathlib import Path

import click

from bootunion.errors import BootunionError
from bootunion.host import console
from bootunion.host.store import Store

from .options import (
    DIRECTORY,
    generation_option,
    json_option,
    list_argument,
    sources_option,
    store_option,
    trust_option,
)

SOURCES_FILE = Path("/etc/bootunion/sources")


def known_sources(given: tuple[str, ...]) -> tuple[str, ...]:
    """The sources that were named, or else this machine's."""
    if given:
        return given
    try:
        lines = SOURCES_FILE.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    found = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not found:
        text = f"no --source was given, and {SOURCES_FILE} has none"
        raise BootunionError("source-failed", text)
    return found


@click.command()
@list_argument
@generation_option
@sources_option
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=None,
    help="Packages at once (default: two for each core).",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="A server that is silent for so long has stalled.",
)
@store_option
@trust_option
@json_option
def fetch(
    list_name: str, generation: int | None, sources: tuple[str, ...], jobs: int | None,
    timeout: float, store_path: Path, trust_path: Path, as_json: bool,
) -> None:  # fmt: skip
    """Fetch LIST and all its packages that the store lacks.

    Sources need not be trusted: nothing is taken that a trusted key did not sign, and each block
    is checked as it comes. What was cut off goes on where it was. The list becomes the store's
    current one when everything it names is there.
    """
    from bootunion.host import signing
    from bootunion.host.fetch import fetching

    orders = fetching.Orders(known_sources(sources), timeout, jobs or 0)
    trusted = signing.read_trust(trust_path, store_path)
    with console.transfer() as bar:
        progress = fetching.Progress(bar.begin, bar.came, bar.done)
        done = fetching.fetch(
            Store(store_path), trusted, orders, list_name, generation or 0, progress
        )
    system = done.system
    if as_json:
        console.show_json({
            "list": system.name, "generation": system.generation, "brought": done.brought,
            "present": done.present, "received_bytes": done.received,
            "seconds": round(done.seconds, 3),
        })  # fmt: skip
    else:
        rate = console.human_size(int(done.received / max(done.seconds, 0.001)))
        print(
            f"{system.title}: {done.brought} packages "
            f"fetched ({console.human_size(done.received)}, {rate}/s), {done.present} were here"
        )


@click.command()
@click.argument("target", metavar="DIR", type=DIRECTORY)
@click.argument("names", metavar="[LIST]...", nargs=-1)
@store_option
@trust_option
@json_option
def publish(target: Path, names: tuple[str, ...], store_path: Path, trust_path: Path,
            as_json: bool) -> None:  # fmt: skip
    """Make DIR a tree that `bootunion fetch` reads, by any static web server or as a directory.

    Takes the current generation of each LIST (of all lists, without one) with its packages;
    what is in DIR already stays. Safe to repeat, and while others read.
    """
    from bootunion.host import publishing, signing

    trusted = signing.read_trust(trust_path, store_path)
    with console.progress() as reporter:
        done = publishing.publish(
            Store(store_path), trusted, target, names,
            lambda count: reporter.stage("publishing packages", count), reporter.step,
        )  # fmt: skip
    if as_json:
        console.show_json(done._asdict())
    else:
        print(f"{', '.join(done.lists)}: {done.copied} packages published, "
              f"{done.present} were there")  # fmt: skip
