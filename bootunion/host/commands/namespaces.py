"""Starting programs in a root of packages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from .options import DIRECTORY, list_names, sources_option, store_option, trust_option


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
    from bootunion.host.processes import starting

    sys.exit(starting.start(command, starting.Asked(**wanted)))


@click.command()
@_root_options
def shell(**wanted: Any) -> None:
    """Start a shell in a root of packages: `run` with your $SHELL.

    The variable BOOTUNION_ROOT says inside which root it is, for a prompt.
    """
    from bootunion.host.processes import starting

    command = (os.environ.get("SHELL") or "/bin/sh",)
    sys.exit(starting.start(command, starting.Asked(**wanted)))
