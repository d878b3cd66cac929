"""The layers of a running root: their dm-verity devices, and their union without the upper."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from bootunion import plan, verity
from bootunion.errors import BootunionError
from bootunion.initrd import dm, mount
from bootunion.initrd.executor import Executor
from bootunion.initrd.store import Store as Reader
from bootunion.systemlist import EIO, Layer, SystemList

from . import sealing
from .running import Running

_CORRUPTED = "C"  # verity's status when it met a bad block; "V" when it did not


def devices(machine: Running, store: Path) -> tuple[dict[int, str], list[Layer]]:
    """The device of each layer, and the layers in which dm-verity met a bad block.

    Each is looked up by the uuid that the agent gave it, and must be one dm-verity target with the
    parameters of the signed list. A layer has none that is mounted as a sealed file: it is "" then,
    and the file must have the digest of the signed list. Raises BootunionError device-mismatch,
    privilege-missing.
    """
    found, corrupted = {}, []
    with _control() as control:
        for position, layer in enumerate(machine.packages):
            if is_sealed(store, layer):
                found[position] = ""
                continue
            path, state = _device(control, machine.system, layer)
            found[position] = path
            if state.startswith(_CORRUPTED):
                corrupted.append(layer)
    return found, corrupted


def is_sealed(store: Path, layer: Layer) -> bool:
    """Whether the package's file has the fs-verity digest that the signed list states."""
    file, wanted = store / "packages" / layer.file_name, layer.image.fsverity
    return bool(wanted) and sealing.sealed(file) == wanted


@contextlib.contextmanager
def _control() -> Iterator[dm.Control]:
    try:
        with dm.Control() as control:
            yield control
    except PermissionError:
        text = "looking at device-mapper devices needs root"
        raise BootunionError("privilege-missing", text) from None


def _device(control: dm.Control, system: SystemList, layer: Layer) -> tuple[str, str]:
    """A layer's device node and its status."""
    uuid = f"{dm.UUID_PREFIX}{layer.image.root_hash}"
    try:
        path, targets = control.look(uuid, table=True)
        _, states = control.look(uuid, table=False)
    except OSError as error:
        text = f"its dm-verity device cannot be looked at: {error.strerror}"
        raise BootunionError("device-mismatch", text, subject=layer.stem) from None
    if len(targets) != 1 or targets[0].name != "verity" or not is_listed(targets[0], system, layer):
        kinds = ", ".join(f"{one.name} {one.text}" for one in targets) or "nothing"
        text = f"{path} is not the dm-verity device that the list asks for, but: {kinds}"
        raise BootunionError("device-mismatch", text, subject=layer.stem)
    return path, states[0].text


def is_listed(target: dm.Target, system: SystemList, layer: Layer) -> bool:
    """Whether a verity target is what the signed list says of a layer."""
    image = layer.image
    if (target.start, target.length) != (0, image.data_blocks * verity.BLOCK_SIZE):
        return False
    # The last resort of a boot goes without the list's `corruption`.
    return verity.is_table(
        target.text, image.data_blocks, image.root_hash, image.salt, {system.corruption, EIO}
    )


@contextlib.contextmanager
def united(
    machine: Running, devices_of: Mapping[int, str], root: Path, store: Path, workspace: Path
) -> Iterator[tuple[Path, Path]]:
    """The root without what is mounted over it, and its layers united without the upper.

    Call it in a mount namespace of one's own: nothing is unmounted. The file systems of the layers
    are those of the root: the kernel has one for each device.
    """
    with Reader(str(store)) as reader, Executor(reader) as executor:
        for position, device in devices_of.items():
            executor.use(position, device)
        layers = machine.system._replace(layers=machine.layers)
        files = [position for position, device in devices_of.items() if not device]
        executor.execute(plan.for_running(layers, str(workspace), files))
        tree = mount.clone_path(str(root))
        try:
            bare = workspace / "bare"
            bare.mkdir()
            mount.attach(tree, str(bare))
        finally:
            os.close(tree)
        yield bare, workspace / "root"
