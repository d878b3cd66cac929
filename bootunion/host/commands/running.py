"""What a running machine tells of its root: whether it is the list's, and how far it drifted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bootunion.host import console
from bootunion.host.places import BOOTED_TRUST

from .options import DIRECTORY, json_option, report_option, store_option

if TYPE_CHECKING:
    from bootunion.host.running import Running

# What this boot believed, whatever else the machine keeps.
_trust_option = click.option(
    "--trust", "trust_path", type=DIRECTORY, default=BOOTED_TRUST,
    show_default=True, envvar="BOOTUNION_TRUST", show_envvar=True,
    help="Directory with trust.json.",
)  # fmt: skip


def _machine(
    store_path: Path, trust_path: Path, report: Path, reporter: console.Reporter
) -> Running:
    from bootunion.host import running, signing
    from bootunion.host.store import Store

    trusted = signing.read_trust(trust_path, store_path)
    reporter.stage("reading what the packages hold", 0)
    return running.read(Store(store_path), trusted, report, reporter.step)


@click.command(name="check-root")
@click.option("--metadata-only", is_flag=True, help="Do not read what is in the files.")
@click.option("--allow-mount", "mounts", multiple=True, metavar="PLACE",
              help="A mount there, over what packages have, is meant (repeatable).")  # fmt: skip
@report_option
@store_option
@_trust_option
@json_option
def check_root(
    metadata_only: bool, mounts: tuple[str, ...], report: Path, store_path: Path,
    trust_path: Path, as_json: bool,
) -> None:  # fmt: skip
    """Prove that the running root is, below its upper, what its signed list says.

    Verifies the list, manifests and contents with the trust store that the machine booted with,
    looks at every layer's dm-verity device, walks the root and compares every path. Needs root.
    Ends with 4 when anything differs.
    """
    from bootunion.host import checkroot, checkroot_layers, namespace
    from bootunion.host.upper import of

    namespace.require_root("checking the root")
    wanted = checkroot.Wanted(not metadata_only, tuple(one.strip("/") for one in mounts))
    with console.progress() as reporter:
        machine = _machine(store_path, trust_path, report, reporter)
        devices, _ = checkroot_layers.devices(machine, store_path)
        reporter.stage("walking the root", checkroot.steps(machine))
        seen = checkroot.check(
            machine, of(machine.system), devices, checkroot.Places(store_path), wanted,
            reporter.step,
        )  # fmt: skip
    # Once more: what was met on the way counts, and nothing was replaced meanwhile.
    _, corrupted = checkroot_layers.devices(machine, store_path)
    seen = checkroot.with_bad_blocks(seen, corrupted)
    if as_json:
        console.show_json(checkroot.as_json(machine, seen, wanted))
    else:
        checkroot.show(machine, seen, wanted)
    error = checkroot.verdict(machine, seen)
    if error is not None and as_json:
        raise SystemExit(error.status)
    if error is not None:
        raise error


@click.command()
@report_option
@store_option
@_trust_option
@json_option
def drift(report: Path, store_path: Path, trust_path: Path, as_json: bool) -> None:
    """Show what the upper has added, changed or hidden since the boot, by package.

    Reads the upper and the signed contents, and nothing of the packages themselves. Needs root.
    """
    from bootunion.host import drift as drifting
    from bootunion.host import namespace
    from bootunion.host.upper import of

    namespace.require_root("looking at the upper")
    with console.progress() as reporter:
        machine = _machine(store_path, trust_path, report, reporter)
        reporter.stage("looking at the upper", 0)
        changes = drifting.find(machine, of(machine.system), reporter.step)
    if as_json:
        console.show_json(drifting.as_json(machine, changes))
    else:
        drifting.show(machine, changes)
