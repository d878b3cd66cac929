"""System lists: composing and verifying them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from bootunion.codes import EXIT_UNTRUSTED
from bootunion.host import console
from bootunion.host.signing import Signer
from bootunion.host.store import Store

from .options import (
    DIRECTORY,
    FILE,
    cache_option,
    generation_option,
    json_option,
    list_argument,
    store_option,
    trust_option,
)


@click.command()
@click.argument("system_yaml", type=FILE)
@click.option("--keys", type=DIRECTORY, required=True, envvar="BOOTUNION_KEYS", show_envvar=True,
              help="Directory made by `bootunion keygen`.")  # fmt: skip
@cache_option
@click.option("--jobs", type=click.IntRange(1), default=None, help="At once (default: all cores).")
@store_option
@json_option
def compose(system_yaml: Path, keys: Path, cache: Path, jobs: int | None, store_path: Path,
            as_json: bool) -> None:  # fmt: skip
    """Compose the next generation of the list that SYSTEM_YAML describes.

    apt resolves and downloads in a private root, the .debs become packages, their maintainer
    scripts run once over the union, what they wrote becomes the generated layer, and the list of
    all is signed. Needs root, for it mounts file systems in a namespace of its own.
    """
    from bootunion.host import composing, signing, systemyaml
    from bootunion.host.configure import Progress

    system = systemyaml.read(system_yaml)
    shop = composing.Workshop(
        Store(store_path), cache.expanduser(), Signer(keys / "package.key"),
        Signer(keys / "list.key"), signing.read_trust(keys / "trust", store_path), jobs or 0,
    )  # fmt: skip
    with console.progress() as reporter:
        done = composing.compose(system, shop, Progress(reporter.stage, reporter.step))
    if as_json:
        console.show_json(json.loads(done.encode()))
    else:
        print(f"{done.title}: {len(done.layers)} packages, "
              f"kernel {done.kernel or 'any'}")  # fmt: skip


@click.command()
@list_argument
@generation_option
@store_option
@trust_option
@json_option
def verify(list_name: str, generation: int | None, store_path: Path, trust_path: Path,
           as_json: bool) -> None:  # fmt: skip
    """Check LIST: its signature, every manifest and every block of every package."""
    from bootunion.host import reading, signing, verifying

    store, trusted = Store(store_path), signing.read_trust(trust_path, store_path)
    system, _ = reading.read_list(store, trusted, list_name, generation or 0)
    with console.progress() as reporter:
        reporter.stage("verifying packages", len(system.packages))
        verdicts = verifying.verify(store, trusted, system, reporter.step)
    bad = [one for one in verdicts if one.error is not None]
    if as_json:
        console.show_json({
            "list": system.name, "generation": system.generation, "packages": len(verdicts),
            "bad": [one.error.as_json() for one in bad if one.error],
        })  # fmt: skip
    else:
        for one in bad:
            assert one.error is not None
            console.show_line(f"bad: {one.package}: {one.error.message} [{one.error.code}]")
        whole = len(verdicts) - len(bad)
        print(f"{list_name} generation {system.generation}: {whole} packages whole, {len(bad)} bad")
    if bad:
        sys.exit(EXIT_UNTRUSTED)
