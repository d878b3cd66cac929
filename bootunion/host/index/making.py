"""Makes a list's index: the image, its hash tree, its manifest."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

from bootunion import manifest, package, systemlist
from bootunion.contents import DIRECTORY, Entry
from bootunion.errors import BootunionError
from bootunion.manifest import Contents, Manifest, Source
from bootunion.merge import Namespace
from bootunion.systemlist import Layer, SystemList

from .. import packaging, reproducible
from ..packaging import Sign
from ..store import Store, pack_contents
from . import devices, writing

_ABOUT = "The merged namespace of a list: all names, over the packages' images"


def make(store: Store, system: SystemList, merged: Namespace, sign: Sign) -> Layer:
    """The index of the layers of `system`, whose namespace is `merged`, put into the store.

    Every package's image is read and checked. Raises BootunionError index-impossible,
    root-hash-mismatch, disk-full; then the store is as it was.
    """
    with store.workspace() as workspace:
        image_file = workspace / "image"
        with image_file.open("wb") as file:
            writing.write(file, merged.paths, _devices(store, system))
        image = packaging.append_tree(image_file, package.EROFS)
        digest = merged.digest([layer.image.root_hash for layer in system.layers])
        # What it shows is what the packages have: their contents files tell, not one of its own.
        packed = pack_contents([Entry("", DIRECTORY, 0o755, 0, 0, reproducible.EPOCH)])
        made = Manifest(
            systemlist.index_name(system.name), digest[:12], system.architecture, _ABOUT, (), (),
            image, Source("index", "", digest),
            Contents(hashlib.sha256(packed).hexdigest(), len(packed)),
        )  # fmt: skip
        payload = made.encode()
        manifest.decode(payload, subject=made.stem)
        store.add(image_file, made, sign(payload, manifest.PAYLOAD_TYPE), packed)
    return Layer(made.name, made.version, made.architecture, image)


def check(store: Store, system: SystemList, merged: Namespace) -> None:
    """Make the index once more and compare. Raises BootunionError index-differs, or as `make`."""
    assert system.index_layer is not None
    with store.workspace() as workspace:
        image_file = workspace / "image"
        with image_file.open("wb") as file:
            writing.write(file, merged.paths, _devices(store, system))
        image = packaging.append_tree(image_file, package.EROFS)
    if not image.agrees(system.index_layer.image):
        text = f"made again its root hash is {image.root_hash[:16]}…"
        raise BootunionError("index-differs", text, subject=system.index_layer.stem)


@contextlib.contextmanager
def temporary(
    store: Store, system: SystemList, merged: Namespace, sign: Sign
) -> Iterator[SystemList]:
    """`system` with an index that is in the store for a while: composing mounts it, nobody else."""
    before = set(store.stems())
    index = make(store, system, merged, sign)
    try:
        yield system._replace(index_layer=index)
    finally:
        if index.stem not in before:
            store.remove(index)


def _devices(store: Store, system: SystemList) -> Sequence[devices.Device]:
    return [
        devices.read(store.packages / one.file_name, one.image, subject=one.stem)
        for one in system.layers
    ]
