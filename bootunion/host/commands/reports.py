"""What the agent did at boot."""

from __future__ import annotations

from pathlib import Path

import click

from bootunion.host import console

from .options import FILE, json_option, store_option


@click.command(name="boot-report")
@click.option("--report", type=FILE, default=Path("/run/bootunion/boot.json"), show_default=True,
              help="The agent's report.")  # fmt: skip
@click.option("--boot", type=click.IntRange(0), default=None, metavar="NUMBER",
              help="A boot whose report the store keeps.")  # fmt: skip
@click.option("--list", "kept", is_flag=True, help="Name the boots whose reports the store keeps.")
@click.option("--all", "everything", is_flag=True, help="Show each layer, not the slowest only.")
@click.option("--html", type=FILE, default=None, metavar="FILE",
              help="Write the timeline as one self-contained page.")  # fmt: skip
@store_option
@json_option
def boot_report(report: Path, boot: int | None, kept: bool, everything: bool, html: Path | None,
                store_path: Path, as_json: bool) -> None:  # fmt: skip
    """Show the timeline of the last boot: each of the agent's steps, each layer.

    Bars on a terminal, one line for each step otherwise (milliseconds since the agent's start).
    """
    from bootunion.host import bootreport, bootview
    from bootunion.host.store import write_atomic

    if kept:
        reports = bootreport.kept(store_path)
        if as_json:
            console.show_json([
                {"took_us": one.took_us, **one.facts} for one in reports
            ])  # fmt: skip
        else:
            bootview.show_kept(reports)
        return
    found = bootreport.read(report) if boot is None else bootreport.read_kept(store_path, boot)
    if html:
        from bootunion.host.pages import boot_page

        write_atomic(html, boot_page(found.as_json()).encode())
    if as_json:
        console.show_json(found.as_json())
    elif html:
        print(f"page {html}")
    else:
        bootview.show(found, everything=everything)
