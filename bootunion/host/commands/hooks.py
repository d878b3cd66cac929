"""Hooks, units, man pages and completion for an installation that no package manager made."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bootunion.host import console

from .options import DIRECTORY, FILE, json_option

_COMPONENTS = {
    "dracut": "The dracut module.",
    "mkinitcpio": "mkinitcpio's hooks.",
    "initramfs-tools": "The hook and scripts of initramfs-tools.",
    "systemd": "bootunion-good.service, with its link in multi-user.target, "
    "bootunion-root@.service and the helper's units.",
    "login": "What pam_namespace runs at login, and its configuration; on request only.",
    "man": "The man pages.",
    "completion": "Completion for bash, zsh and fish.",
}


def _component_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, text in reversed(_COMPONENTS.items()):
        function = click.option(f"--{name}", name.replace("-", "_"), is_flag=True, help=text)(
            function
        )
    return function


@click.command(name="install-hooks")
@_component_options
@click.option("--remove", is_flag=True, help="Take away what this command installed.")
@click.option("--root", type=DIRECTORY, default=Path("/"), show_default=True,
              help="The root to install into.")  # fmt: skip
@click.option("--prefix", default="/usr/local", show_default=True, metavar="DIRECTORY",
              help="Where units, man pages and completion go. With /usr the initramfs generators' "
              "hooks go where a distribution's packages put them.")  # fmt: skip
@click.option("--python", type=FILE, default=None,
              help="The interpreter that hooks and units run bootunion with (default: the one of "
              "this virtual environment, or the system's).")  # fmt: skip
@click.option("--no-record", is_flag=True,
              help="Remember nothing, for a package manager does.")  # fmt: skip
@json_option
def install_hooks(remove: bool, root: Path, prefix: str, python: Path | None, no_record: bool,
                  as_json: bool, **chosen: bool) -> None:  # fmt: skip
    """Put hooks, units, man pages and completion where the system's tools look for them.

    Without a component it is all that the root has tools for. Doing it again updates the files. A
    file of somebody else is never written over, and one that was changed since is kept, here and
    with --remove. A record with digests is kept in /var/lib/bootunion/hooks.json.
    """
    from bootunion.host import hooks

    names = [name for name in hooks.COMPONENTS if chosen[name.replace("-", "_")]]
    if remove:
        done = hooks.remove(root, names or hooks.COMPONENTS)
    else:
        interpreter = hooks.own_python() if python is None else str(python.absolute())
        place = os.path.normpath("/" + prefix.lstrip("/")).rstrip("/")
        files = hooks.collect(names or hooks.found_components(root), place, interpreter)
        done = hooks.install(root, files, record=not no_record)
    if as_json:
        console.show_json({"root": str(root), "files": [one._asdict() for one in done]})
    else:
        console.show_table("files", ["path", "component", "did"], done)
