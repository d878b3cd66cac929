"""What a booted machine asks of bootunion."""

from __future__ import annotations

from pathlib import Path

import click

from bootunion.host import console

from .options import json_option, list_names, report_option, store_option, trust_option


@click.command(name="mark-good")
@report_option
@store_option
@json_option
def mark_good(report: Path, store_path: Path, as_json: bool) -> None:
    """Remember the running generation as good: its tries start anew, its floor holds from now on.

    bootunion-good.service does this when the units that the list names are up.
    """
    from bootunion.host import marking

    running, memory = marking.mark_good(str(store_path), str(report))
    if as_json:
        console.show_json({"list": running.name, **memory._asdict()})
    else:
        print(f"list {running.name} generation {running.generation} is good; "
              f"the floor is {memory.floor}")  # fmt: skip


@click.command()
@click.argument("list_name", metavar="[LIST]", required=False, default="",
                shell_complete=list_names)  # fmt: skip
@click.option("--blocks", is_flag=True, help="Also check every block of every package.")
@store_option
@trust_option
@json_option
def doctor(list_name: str, blocks: bool, store_path: Path, trust_path: Path,
           as_json: bool) -> None:  # fmt: skip
    """Say what is wrong with a store, its lists and the machine's last boots, and what to do.

    Works on the machine itself or on a store that was brought elsewhere. Without LIST every list
    of the store is looked at. Ends with 0 when nothing is wrong, with 4 otherwise.
    """
    from bootunion.codes import EXIT_UNTRUSTED
    from bootunion.host import diagnosis

    found = diagnosis.examine(store_path, trust_path, list_name, blocks=blocks)
    if as_json:
        console.show_json([one._asdict() for one in found])
    else:
        diagnosis.show(found)
    if any(one.severity == diagnosis.WRONG for one in found):
        raise SystemExit(EXIT_UNTRUSTED)
