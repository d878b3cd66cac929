"""Disks with a list of N packages in which programs run, for what is measured in a running root.

The lists of bench/boot_store.py are packages of chance: none of their programs starts. These have
what `NEEDED` names, further packages of the same list, and the links that a merged /usr has. Image
files are links to those of bench/boot_store.py.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import boot_store
import erofs_utils
import machine
import packages
from boot_store import Disks

from bootunion import merge, package, systemlist
from bootunion.host import build, importer, packaging, reading, signing
from bootunion.host.index import making
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.systemlist import Layer

# Those of asking.PROGRAMS and find, with the libraries that they are linked to.
NEEDED = """bash cpp-12 findutils gcc-12 git libc6 libc6-dev libcrypt1 libexpat1 libgcc-12-dev
    libgcc-s1 libgmp10 libisl23 libmpfr6 libpcre2-8-0 libpython3.11-minimal libpython3.11-stdlib
    libselinux1 libstdc++6 libtinfo6 libzstd1 linux-libc-dev media-types perl-base python3.11
    python3.11-minimal zlib1g""".split()  # noqa: SIM905
MORE = ("libmpc3",)  # which bench/packages.py's 500 lack
_LINKS = ("bin", "sbin", "lib", "lib64")
_FORMATS = {"store": package.SQUASHFS, "indexed": package.EROFS_UNCOMPRESSED}
_FORMAT = "1"  # of what is made here, for the cache


def make(size: int) -> Disks:
    """Disks whose list of `size` packages is one that programs run in; kept in the cache."""
    base = boot_store.make()
    base.indexed()
    inputs = f"{_FORMAT} {base.directory.name} {size} {NEEDED} {MORE}"
    state = hashlib.sha256(inputs.encode()).hexdigest()[:16]
    disks = Disks(packages.CACHE / f"running-{state}")
    if not (disks.directory / "complete").exists():
        shutil.rmtree(disks.directory, ignore_errors=True)
        shutil.copytree(base.trust, disks.trust)
        debs = packages.download(MORE, disks.directory / "debs")
        for name in _FORMATS:
            _store(base, disks, name, size, debs)
        machine.store_disk(disks.store, disks.packages)
        machine.store_disk(disks.directory / "indexed", disks.directory / "indexed.img")
        disks.single(size)
        (disks.directory / "complete").touch()
    return disks


def _store(base: Disks, disks: Disks, name: str, size: int, debs: list[Path]) -> None:
    """A store with the packages of the list and no others, and the list."""
    os.environ["PATH"] = f"{erofs_utils.tools(packages.CACHE)}:{os.environ['PATH']}"
    keys = packages.make().directory / "keys"
    signers = {name: Signer(keys / f"{name}.key") for name in ("package", "list")}
    trusted, source = signing.read_trust(base.trust), Store(base.directory / name)
    store = Store(disks.directory / name).create()
    # The longest list; the last of it is the mount points' package.
    every, _ = reading.read_list(source, trusted, boot_store.list_name(boot_store.SIZES[-1]), 0)
    layers = _chosen(every.layers[:-1], size - len(MORE))
    for layer in layers:
        for suffix in (package.MANIFEST_SUFFIX, package.CONTENTS_SUFFIX, layer.image.suffix):
            file = f"{layer.stem}{suffix}"
            (store.packages / file).hardlink_to(source.packages / file)
    made = importer.import_debs(
        debs, store, signers["package"], lambda _: None, image_format=_FORMATS[name]
    )
    more = (Layer(one.name, one.version, one.architecture, one.image) for one in made)
    points = _mount_points(store, signers["package"], _FORMATS[name])
    system = every._replace(
        name=boot_store.list_name(size), layers=(*layers, *more, points), index_layer=None
    )
    if name == "indexed":
        merged = merge.merge(store.entries(reading.signed_manifest(store, trusted, one.stem))
                             for one in system.layers)  # fmt: skip
        index = making.make(store, system, merged, signers["package"])
        system = system._replace(index_layer=index)
    envelope = signers["list"](system.encode(), systemlist.PAYLOAD_TYPE)
    store.add_list(system.name, system.generation, envelope)
    (store.path / "bench").mkdir()
    (store.path / "bench" / system.name).write_text("".join(map(boot_store.line, system.packages)))


def _chosen(layers: tuple[Layer, ...], size: int) -> list[Layer]:
    """The needed layers and others, from their whole range, in the order in which they are."""
    needed = {one.name for one in layers if one.name in NEEDED}
    assert len(needed) == len(NEEDED), set(NEEDED) - needed
    others = [one for one in layers if one.name not in needed]
    kept = {one.name for one in boot_store.chosen(others, size - len(needed))}
    return [one for one in layers if one.name in needed | kept]


def _mount_points(store: Store, signer: Signer, image_format: str) -> Layer:
    """What a generated layer would have: directories that are mounted on, links into /usr."""
    with tempfile.TemporaryDirectory() as tree:
        for name in boot_store.POINTS:
            (Path(tree) / name).mkdir()
        for name in _LINKS:
            (Path(tree) / name).symlink_to(f"usr/{name}")
        about = Description("mount-points", "2", "amd64")
        made = packaging.write_package(store, build.members(Path(tree)), about, None, signer,
                                       image_format=image_format)  # fmt: skip
    return Layer(made.name, made.version, made.architecture, made.image)
