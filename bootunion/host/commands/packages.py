"""Making packages: from directories, .debs and wheels."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bootunion.errors import BootunionError
from bootunion.host import console
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.manifest import Manifest

from .options import (
    DIRECTORY,
    FILE,
    format_option,
    json_option,
    package_key_options,
    store_option,
)


@click.command()
@click.argument("directory", type=DIRECTORY)
@click.option("--name", required=True, help="The package's name.")
@click.option("--version", required=True, help="The package's version.")
@click.option("--architecture", default="all", show_default=True)
@click.option("--description", default="", help="One line.")
@click.option("--keep-owner", is_flag=True, help="Keep owners; otherwise all is root's.")
@format_option
@store_option
@package_key_options
@json_option
def build(directory: Path, name: str, version: str, architecture: str, description: str,
          keep_owner: bool, image_format: str, store_path: Path, package_key: Path,
          sign_command: str, as_json: bool) -> None:  # fmt: skip
    """Make a package of DIRECTORY and put it into the store."""
    from bootunion.host import build as building
    from bootunion.host import packaging

    about = packaging.Description(name, version, architecture, description).check()
    members = building.members(directory, keep_owner=keep_owner)
    made = packaging.write_package(
        Store(store_path).create(), members, about, None, Signer(package_key, sign_command),
        image_format=image_format,
    )  # fmt: skip
    _show_packages([made], as_json)


@click.group(name="import")
def import_group() -> None:
    """Turn packages of other kinds into packages of the store."""


@import_group.command(name="deb")
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--jobs", type=click.IntRange(1), default=None, help="At once (default: all cores).")
@format_option
@store_option
@package_key_options
@json_option
def import_deb(files: tuple[Path, ...], jobs: int | None, image_format: str, store_path: Path,
               package_key: Path, sign_command: str, as_json: bool) -> None:  # fmt: skip
    """Import .deb FILES, several at once. No root is needed and nothing is lost.

    A bad file does not keep the others out; it is named, and the exit status is its own.
    """
    signer = Signer(package_key, sign_command)
    _import(files, store_path, signer, as_json, jobs=jobs or 0, image_format=image_format)


@import_group.command(name="wheel")
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option(
    "--python",
    default="/usr/bin/python3",
    show_default=True,
    metavar="PROGRAM",
    help="The interpreter that the wheels are for.",
)
@click.option("--jobs", type=click.IntRange(1), default=None, help="At once (default: all cores).")
@format_option
@store_option
@package_key_options
@json_option
def import_wheel(files: tuple[Path, ...], python: str, jobs: int | None, image_format: str,
                 store_path: Path, package_key: Path, sign_command: str,
                 as_json: bool) -> None:  # fmt: skip
    """Import Python wheels: each becomes a package with everything below /usr/local.

    Modules are compiled, scripts and entry points become programs, and each file is checked
    against the wheel's RECORD. A bad file does not keep the others out; it is named, and the exit
    status is its own.
    """
    import functools

    from bootunion.host.wheels import importing, interpreter

    how = functools.partial(importing.import_wheel, interpreter=interpreter.ask(python))
    signer = Signer(package_key, sign_command)
    _import(files, store_path, signer, as_json, jobs=jobs or 0, image_format=image_format, how=how)


def _import(
    files: Sequence[Path], store_path: Path, signer: Signer, as_json: bool, **options: Any
) -> None:
    from bootunion.host import importer

    store = Store(store_path).create()
    with console.progress() as reporter:
        reporter.stage("importing packages", len(set(files)))
        results = importer.import_each(files, store, signer, reporter.step, **options)
    refused = {file: one for file, one in results.items() if isinstance(one, BootunionError)}
    made = [one for one in results.values() if not isinstance(one, BootunionError)]
    _show_packages(made, as_json, refused)
    for error in refused.values():
        console.refusal(error)
    if refused:
        sys.exit(next(iter(refused.values())).status)


def _show_packages(
    made: Sequence[Manifest], as_json: bool, refused: Mapping[Path, BootunionError] | None = None
) -> None:
    if as_json:
        console.show_json({
            "packages": [json.loads(one.encode()) for one in made],
            "refused": [{"file": str(file)} | error.as_json()
                        for file, error in (refused or {}).items()],
        })  # fmt: skip
        return
    # Enough of the root hash to find the file; a program reads it whole.
    short = 16 if sys.stdout.isatty() else 64
    rows = [[one.name, one.version, console.human_size(one.image.size),
             one.image.root_hash[:short]] for one in made]  # fmt: skip
    if rows:
        console.show_table("packages", ["package", "version", "size", "root hash"], rows,
                           right=("size",))  # fmt: skip
