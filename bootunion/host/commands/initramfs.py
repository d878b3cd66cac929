"""What goes into an initramfs, and making one."""

from __future__ import annotations

from pathlib import Path

import click

from bootunion import trust
from bootunion.host import console
from bootunion.host.store import Store

from .options import (
    DIRECTORY,
    FILE,
    generation_option,
    json_option,
    list_argument,
    store_option,
    trust_option,
)


@click.command(name="initramfs-files")
@click.option("--python", type=FILE, default=Path("/usr/bin/python3"), show_default=True,
              help="The interpreter that goes into the initramfs.")  # fmt: skip
@click.option("--install", "target", type=DIRECTORY, default=None,
              help="Copy the files below this directory instead of printing them.")  # fmt: skip
@json_option
def initramfs_files(python: Path, target: Path | None, as_json: bool) -> None:
    """Print the files that the agent needs in an initramfs: source, tab, destination.

    They come from a real import by that interpreter, in the mode in which it boots.
    """
    from bootunion.host import closure

    closure.command(python, target, as_json)


@click.command()
@list_argument
@generation_option
@click.option("--output", type=FILE, required=True, help="The image to write.")
@click.option("--kernel-output", type=FILE, default=None, help="Write the list's kernel here.")
@click.option("--plain", is_flag=True, help="Without systemd in the initramfs.")
@click.option("--without-agent", is_flag=True, help="Leave bootunion out, to compare sizes.")
@click.option("--drivers", default="", help="Only these kernel modules (default: a generic set).")
@store_option
@trust_option
@json_option
def initramfs(list_name: str, generation: int | None, output: Path, kernel_output: Path | None,
              plain: bool, without_agent: bool, drivers: str, store_path: Path,
              trust_path: Path, as_json: bool) -> None:  # fmt: skip
    """Make LIST's initramfs with the list's own dracut, inside the list's own root.

    The list must hold dracut, bootunion, python3-cryptography and a kernel. Needs root.
    """
    from bootunion.host import initramfs as making
    from bootunion.host import reading, signing

    store, trusted = Store(store_path), signing.read_trust(trust_path, store_path)
    system, _ = reading.read_list(store, trusted, list_name, generation or 0)
    with console.progress() as reporter:
        reporter.stage("making the initramfs with dracut", 0)
        making.make(store, system, making.Wanted(
            output, trust_path / trust.FILE_NAME, kernel_output, plain, not without_agent, drivers
        ))  # fmt: skip
    size = output.stat().st_size
    if as_json:
        console.show_json({
            "list": system.name, "generation": system.generation, "output": str(output),
            "size": size, "kernel_output": str(kernel_output) if kernel_output else None,
        })  # fmt: skip
    else:
        print(f"{output}: {console.human_size(size)}")
