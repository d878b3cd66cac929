"""Making packages: from directories and from .debs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from bootunion.host import console
from bootunion.host.signing import Signer
from bootunion.host.store import Store

from .options import DIRECTORY, FILE, json_option, package_key_options, store_option


@click.command()
@click.argument("directory", type=DIRECTORY)
@click.option("--name", required=True, help="The package's name.")
@click.option("--version", required=True, help="The package's version.")
@click.option("--architecture", default="all", show_default=True)
@click.option("--description", default="", help="One line.")
@click.option("--keep-owner", is_flag=True, help="Keep owners; otherwise all is root's.")
@store_option
@package_key_options
@json_option
def build(directory: Path, name: str, version: str, architecture: str, description: str,
          keep_owner: bool, store_path: Path, package_key: Path, sign_command: str,
          as_json: bool) -> None:  # fmt: skip
    """Make a package of DIRECTORY and put it into the store."""
    from bootunion.host import build as building
    from bootunion.host import packaging

    about = packaging.Description(name, version, architecture, description).check()
    members = building.members(directory, keep_owner=keep_owner)
    made = packaging.write_package(
        Store(store_path).create(), members, about, None, Signer(package_key, sign_command)
    )
    _show_packages([made], as_json)


@click.group(name="import")
def import_group() -> None:
    """Turn a distribution's packages into packages of the store."""


@import_group.command(name="deb")
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--jobs", type=click.IntRange(1), default=None, help="At once (default: all cores).")
@store_option
@package_key_options
@json_option
def import_deb(files: tuple[Path, ...], jobs: int | None, store_path: Path, package_key: Path,
               sign_command: str, as_json: bool) -> None:  # fmt: skip
    """Import .deb FILES, several at once. No root is needed and nothing is lost."""
    from bootunion.host import importer

    store = Store(store_path).create()
    with console.progress() as reporter:
        reporter.stage("importing packages", len(files))
        made = importer.import_debs(
            files, store, Signer(package_key, sign_command), reporter.step, jobs=jobs or 0
        )
    _show_packages(made, as_json)


def _show_packages(made: list[Any], as_json: bool) -> None:
    if as_json:
        console.show_json([json.loads(one.encode()) for one in made])
        return
    rows = [[one.name, one.version, console.human_size(one.image.size), one.image.root_hash]
            for one in made]  # fmt: skip
    console.show_table("packages", ["package", "version", "size", "root hash"], rows,
                       right=("size",))  # fmt: skip
