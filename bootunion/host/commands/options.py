"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bootunion import package, systemlist
from bootunion.errors import BootunionError
from bootunion.host.places import BOOTED_TRUST, STORE, TRUST, machine_trust

DIRECTORY = click.Path(path_type=Path, file_okay=False, readable=False)
# What cannot be read is refused where it is read, with a code.
FILE = click.Path(path_type=Path, dir_okay=False, readable=False)

store_option = click.option(
    "--store", "store_path", type=DIRECTORY, default=STORE, show_default=True,
    envvar="BOOTUNION_STORE", show_envvar=True, help="Directory of packages and lists.",
)  # fmt: skip
trust_option = click.option(
    "--trust", "trust_path", type=DIRECTORY, default=machine_trust,
    show_default=f"{TRUST}; where there is none, {BOOTED_TRUST}",
    envvar="BOOTUNION_TRUST", show_envvar=True,
    help="Directory with trust.json.",
)  # fmt: skip


def list_names(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """The lists of the store that the command's words name, for a shell to complete."""
    lists = Path(context.params.get("store_path") or STORE) / "lists"
    try:
        return sorted(one.name for one in lists.iterdir() if one.name.startswith(begun))
    except OSError:
        return []


def _check_list_name(_: click.Context, __: click.Parameter, name: str) -> str:
    if not systemlist.LIST_NAME.match(name):
        raise BootunionError("name-invalid", f"{name!r} is not the name of a list")
    return name


list_argument = click.argument(
    "list_name", metavar="LIST", shell_complete=list_names, callback=_check_list_name
)
generation_option = click.option(
    "--generation", type=click.IntRange(1), default=None, help="Not the current one."
)
cache_option = click.option(
    "--cache", type=DIRECTORY, default=Path("~/.cache/bootunion"), show_default=True,
    help="Where apt's downloads are kept.",
)  # fmt: skip
report_option = click.option(
    "--report", type=FILE, default=Path("/run/bootunion/boot.json"), show_default=True,
    help="The agent's report of this boot.",
)  # fmt: skip
format_option = click.option(
    "--format", "image_format", type=click.Choice(package.IMAGE_FORMATS), default=package.SQUASHFS,
    show_default=True, help="The image's file system.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def package_key_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how packages are signed."""
    for option in (
        click.option("--sign-command", default="", metavar="COMMAND",
                     help="Program that signs: bytes on its standard input, the 64-byte "
                          "signature on its output; --package-key is then the public key."),
        click.option("--package-key", type=FILE, required=True,
                     envvar="BOOTUNION_PACKAGE_KEY", show_envvar=True,
                     help="Key that signs manifests (PEM)."),
    ):  # fmt: skip
        function = option(function)
    return function


sources_option = click.option(
    "--source", "sources", multiple=True, metavar="WHERE",
    envvar="BOOTUNION_SOURCES", show_envvar=True,
    help="A directory, file://, http:// or https:// address to fetch from; again for more, in "
         "order. Without it: the lines of /etc/bootunion/sources.",
)  # fmt: skip
