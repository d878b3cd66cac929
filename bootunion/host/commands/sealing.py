"""`bootunion seal`."""

from __future__ import annotations

from pathlib import Path

import click

from bootunion.host import console

from .options import json_option, store_option


@click.command()
@store_option
@json_option
def seal(store_path: Path, as_json: bool) -> None:
    """Seal the store's EROFS packages with fs-verity.

    A sealed package can't be changed any more, the kernel checks each read of it, and Linux 6.12
    and later mount it without a loop device and a dm-verity device: the root is made sooner and
    takes less memory. Packages that are imported, composed or fetched into a store are sealed by
    themselves; seal what was put there in another way, such as an image made by mkfs.

    The store has to lie on ext4 (made with `mkfs.ext4 -O verity -b 4096`, or after
    `tune2fs -O verity`), btrfs or f2fs. Can be repeated.
    """
    from bootunion.host import sealing

    with console.progress() as reporter:
        images = sealing.sealable(store_path / "packages")
        reporter.stage("sealing packages", len(images))
        done = sealing.seal_all(images, reporter.step)
    if as_json:
        console.show_json(done._asdict())
    else:
        print(f"{done.sealed} packages are sealed, {done.new} of them now")
