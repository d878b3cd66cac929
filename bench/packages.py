"""A store with a list of 500 real packages, for what is measured on many: kept in the cache.

    .venv/bin/python bench/packages.py     makes it and says where it lies

The packages are the first 500 of bench/packages.txt that the machine's own apt sources (Debian 12)
have, in their order: what the demo has, and what many people have besides, 200,000 paths in all;
the last names of the file stand in for kernels that the archive has dropped. None is configured;
500 layers are all that overlayfs takes, so there is no generated one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bootunion import merge, systemlist
from bootunion.host import importer, signing
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.manifest import Manifest
from bootunion.systemlist import Layer, SystemList

TOP = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("BOOTUNION_CACHE", TOP / "build/cache")).resolve()
NAMES = TOP / "bench/packages.txt"
LIST = "many"


class Made(NamedTuple):
    """A store with the list `LIST`, and the trust store that believes it."""

    directory: Path

    @property
    def store(self) -> Path:
        return self.directory / "store"

    @property
    def trust(self) -> Path:
        return self.directory / "keys/trust"


def make() -> Made:
    """The store; made when the cache has none for these names."""
    made = Made(CACHE / f"many-{hashlib.sha256(NAMES.read_bytes()).hexdigest()[:16]}")
    if (made.directory / "complete").exists():
        return made
    shutil.rmtree(made.store, ignore_errors=True)
    shutil.rmtree(made.directory / "keys", ignore_errors=True)
    names = available(NAMES.read_text().split())[: systemlist.MAX_LAYERS]
    debs = download(names, made.directory / "debs")
    signing.generate(made.directory / "keys")
    signer = Signer(made.directory / "keys/package.key")
    store = Store(made.store).create()
    print(f"importing {len(debs)} .debs", flush=True)
    manifests = importer.import_debs(debs, store, signer, lambda _: None)
    sign_list(made, manifests)
    (made.directory / "complete").touch()
    return made


def available(names: Sequence[str]) -> list[str]:
    """Those of `names` that the machine's apt knows, in their order."""
    known = subprocess.run(["apt-cache", "pkgnames"], check=True, stdout=subprocess.PIPE, text=True)
    there = set(known.stdout.split())
    return [name for name in names if name in there]


def download(names: Sequence[str], where: Path) -> list[Path]:
    """The .debs of `names`, in their order, by apt-get."""
    where.mkdir(parents=True, exist_ok=True)
    there = {file.name.partition("_")[0]: file for file in sorted(where.glob("*.deb"))}
    missing = [name for name in names if name not in there]
    if missing:
        print(f"downloading {len(missing)} .debs", flush=True)
        subprocess.run(["apt-get", "-q", "download", *missing], cwd=where, check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        there = {file.name.partition("_")[0]: file for file in sorted(where.glob("*.deb"))}
    return [there[name] for name in names]


def sign_list(made: Made, manifests: Sequence[Manifest]) -> None:
    """Sign and store the list of `manifests`, top first, read-only."""
    store = Store(made.store)
    layers = tuple(Layer(one.name, one.version, one.architecture, one.image) for one in manifests)
    merged = merge.merge(store.entries(one) for one in manifests)
    system = SystemList(
        LIST, 1, 1, int(time.time()), "amd64", "", layers, systemlist.UPPER_NONE,
        merged.digest([one.image.root_hash for one in manifests]),
    )  # fmt: skip
    envelope = Signer(made.directory / "keys/list.key")(system.encode(), systemlist.PAYLOAD_TYPE)
    store.add_list(LIST, system.generation, envelope)


if __name__ == "__main__":
    print(make().directory)
    sys.exit()
