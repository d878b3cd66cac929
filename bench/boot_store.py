"""Disks with lists of N real packages, or one squashfs of the same tree: kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import packages

from bootunion import merge, package, plan, systemlist
from bootunion.host import build, importer, namespace, packaging, reading, reproducible, signing
from bootunion.host.index import making
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.systemlist import Layer, SystemList

sys.path[len(sys.path) :] = [str(packages.TOP / "qemu-tests"), str(packages.TOP / "scripts")]
import erofs_utils  # noqa: E402
import machine  # noqa: E402

SIZES = (10, 50, 150, 300, 499)
POINTS = ("pkgs", "proc", "sys", "dev", "run", "tmp")
_FORMAT = "3"  # of what is made here, for the cache


class Disks(NamedTuple):
    """What `make` leaves on the disk."""

    directory: Path

    @property
    def trust(self) -> Path:
        return self.directory / "trust"

    @property
    def store(self) -> Path:
        return self.directory / "store"

    @property
    def packages(self) -> Path:
        """The disk of the store."""
        return self.directory / "packages.img"

    def indexed(self) -> Path:
        """The disk with the same packages, not compressed, and lists with an index over them."""
        disk = self.directory / "indexed.img"
        if not disk.exists():
            print("importing the packages once more, for lists with an index", flush=True)
            _as_erofs(self, "indexed", package.EROFS_UNCOMPRESSED, disk)
        return disk

    def erofs(self) -> Path:
        """The disk with the same packages as compressed EROFS."""
        disk = self.directory / "erofs.img"
        if not disk.exists():
            print("importing the packages once more, as EROFS", flush=True)
            _as_erofs(self, "erofs", package.EROFS, disk)
        return disk

    def single(self, size: int) -> Path:
        """The disk with one squashfs of the tree of `size` packages; made when it is not there."""
        disk = self.directory / f"single-{size}.img"
        if not disk.exists():
            print(f"packing one squashfs of {size} packages", flush=True)
            _single(self, size, disk)
        return disk


def list_name(size: int) -> str:
    """The list of `size` packages."""
    return f"n{size}"


def chosen(layers: Sequence[Layer], size: int) -> tuple[Layer, ...]:
    """`size` of the layers, from their whole range: a short list is like a long one."""
    return tuple(layers[index * len(layers) // size] for index in range(size))


def make() -> Disks:
    """The store's disk; made when the cache has none of these packages and sizes."""
    many = packages.make()
    trusted = signing.read_trust(many.trust)
    every, _ = reading.read_list(Store(many.store), trusted, packages.LIST, 0)
    state = hashlib.sha256(_FORMAT.encode() + repr(SIZES).encode() + every.encode())
    disks = Disks(packages.CACHE / f"bench-{state.hexdigest()[:16]}")
    if (disks.directory / "complete").exists():
        return disks
    shutil.rmtree(disks.directory, ignore_errors=True)
    disks.directory.mkdir(parents=True)
    shutil.copytree(many.trust, disks.trust)
    subprocess.run(["cp", "-al", many.store, disks.store], check=True)
    points = _mount_points(Store(disks.store), Signer(many.directory / "keys/package.key"))
    (disks.store / "bench").mkdir()
    for size in SIZES:
        layers = (*chosen(every.layers, size), points)
        system = every._replace(
            name=list_name(size), layers=layers, upper=systemlist.UPPER_VOLATILE,
            namespace="0" * 64,  # nobody looks at it here
        )  # fmt: skip
        envelope = Signer(many.directory / "keys/list.key")(
            system.encode(), systemlist.PAYLOAD_TYPE
        )
        Store(disks.store).add_list(system.name, system.generation, envelope)
        (disks.store / "bench" / system.name).write_text("".join(map(line, layers)))
    machine.store_disk(disks.store, disks.packages)
    (disks.directory / "complete").touch()
    return disks


def line(layer: Layer) -> str:
    """A layer as bench/floor.c reads it."""
    image = layer.image
    words = (layer.file_name, image.size, image.data_blocks, image.root_hash, image.salt or "-")
    return " ".join(map(str, words)) + "\n"


def _mount_points(store: Store, signer: Signer, image_format: str = package.SQUASHFS) -> Layer:
    """What a generated layer would have: the directories that are mounted on."""
    with tempfile.TemporaryDirectory() as tree:
        for name in POINTS:
            (Path(tree) / name).mkdir()
        about = Description("mount-points", "1", "amd64")
        made = packaging.write_package(store, build.members(Path(tree)), about, None, signer,
                                       image_format=image_format)  # fmt: skip
    return Layer(made.name, made.version, made.architecture, made.image)


def _system(disks: Disks, size: int) -> SystemList:
    store, trusted = Store(disks.store), signing.read_trust(disks.trust)
    return reading.read_list(store, trusted, list_name(size), 0)[0]


def _as_erofs(disks: Disks, name: str, image_format: str, disk: Path) -> None:
    """The lists of `make` again: the same .debs as EROFS; uncompressed ones with an index."""
    os.environ["PATH"] = f"{erofs_utils.tools(packages.CACHE)}:{os.environ['PATH']}"
    many = packages.make()
    signers = {name: Signer(many.directory / f"keys/{name}.key") for name in ("package", "list")}
    store = Store(disks.directory / name).create()
    debs = sorted((many.directory / "debs").glob("*.deb"))
    made = importer.import_debs(
        debs, store, signers["package"], lambda _: None, image_format=image_format
    )
    by_name = {(one.name, one.version): one for one in made}
    points = _mount_points(store, signers["package"], image_format)
    (store.path / "bench").mkdir(exist_ok=True)
    for size in SIZES:
        system = _system(disks, size)
        manifests = [by_name[one.name, one.version] for one in system.layers[:-1]]
        layers = (*(Layer(one.name, one.version, one.architecture, one.image)
                    for one in manifests), points)  # fmt: skip
        system = system._replace(layers=layers)
        if image_format == package.EROFS_UNCOMPRESSED:
            described = (reading.signed_manifest(store, signing.read_trust(many.trust), one.stem)
                         for one in layers)  # fmt: skip
            merged = merge.merge(store.entries(one) for one in described)
            index = making.make(store, system, merged, signers["package"])
            system = system._replace(index_layer=index)
        envelope = signers["list"](system.encode(), systemlist.PAYLOAD_TYPE)
        store.add_list(system.name, system.generation, envelope)
        (store.path / "bench" / system.name).write_text("".join(map(line, system.packages)))
    machine.store_disk(store.path, disk, sealable=True)


def pack(root: Path, target: Path) -> None:
    """A squashfs of a tree, with the settings that packages have."""
    # sqfstar's options but those that mksquashfs lacks.
    usual = reproducible.SQUASHFS_OPTIONS
    options = usual[: usual.index("-root-mode")]
    argv = ["mksquashfs", str(root), str(target), *options, "-quiet", "-no-progress"]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def _single(disks: Disks, size: int, disk: Path) -> None:
    system = _system(disks, size)
    with tempfile.TemporaryDirectory(dir=disks.directory) as directory:
        work = Path(directory)
        target = work / "tree/packages/single.squashfs"
        target.parent.mkdir(parents=True)
        steps = plan.for_namespace(system, str(work / "union"), upper="", verity=False)

        namespace.in_namespace(
            lambda: namespace.in_union(
                disks.store, steps, work / "union/root", lambda root: pack(root, target)
            )
        )
        image = packaging.append_tree(target)
        (work / "tree/bench").mkdir()
        line = f"{target.name} {image.size} {image.data_blocks} {image.root_hash} {image.salt}\n"
        (work / "tree/bench" / system.name).write_text(line)
        aside = work / "disk.img"
        machine.store_disk(work / "tree", aside)
        aside.rename(disk)
