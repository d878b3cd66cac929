"""The disk for systemd-sysext: the same packages as extension images with dm-verity beside them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import boot_store
import machine
import packages
from boot_store import Disks

from bootunion.host import packaging, reading, signing
from bootunion.host.store import Store
from bootunion.systemlist import Layer
from bootunion.verity import BLOCK_SIZE

_SUFFIXES = (".raw", ".verity", ".roothash")


def disk(disks: Disks, size: int) -> Path:
    """The disk with extension images of `size` packages; made when it is not there."""
    target = disks.directory / f"sysext-{size}.img"
    if target.exists():
        return target
    layers = _layers(disks, size)
    print(f"making {size} extension images", flush=True)
    made = disks.directory / "sysext"
    made.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=disks.directory) as directory:
        tree = Path(directory)
        (tree / "packages").mkdir()
        (tree / "bench").mkdir()
        names = [layer.name + suffix for layer in layers for suffix in _SUFFIXES]
        for layer in layers:
            _extension(disks.store / "packages" / layer.file_name, layer.name, made)
        for name in names:
            (tree / "packages" / name).hardlink_to(made / name)
        # What the guest reads into the page cache: first words of lines.
        table = "".join(f"{name} -\n" for name in names)
        (tree / "bench" / boot_store.list_name(size)).write_text(table)
        machine.store_disk(tree, target)
    return target


def _layers(disks: Disks, size: int) -> Sequence[Layer]:
    """The packages that the other ways have at this size, for any size."""
    trusted = signing.read_trust(disks.trust)
    every, _ = reading.read_list(Store(disks.store), trusted, packages.LIST, 0)
    return boot_store.chosen(every.layers, size)


def _extension(package: Path, name: str, where: Path) -> None:
    """Pack a package's tree again with an extension-release, its verity tree in its own file."""
    if (where / f"{name}.roothash").exists():
        return
    with tempfile.TemporaryDirectory(dir=where) as directory:
        root, image = Path(directory) / "root", Path(directory) / "image"
        argv = ["unsquashfs", "-quiet", "-no-progress", "-dest", str(root), str(package)]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        release = root / f"usr/lib/extension-release.d/extension-release.{name}"
        release.parent.mkdir(parents=True, exist_ok=True)
        release.write_text("ID=_any\n")
        # base-files' own: an image with it is a whole OS, and refused.
        (root / "usr/lib/os-release").unlink(missing_ok=True)
        boot_store.pack(root, image)
        made = packaging.append_tree(image)
        data = made.data_blocks * BLOCK_SIZE
        whole = image.read_bytes()
        (where / f"{name}.raw").write_bytes(whole[:data])
        (where / f"{name}.verity").write_bytes(whole[data:])
        (where / f"{name}.roothash").write_text(f"{made.root_hash}\n")
