"""A store of thousands of packages: 497 real ones, the rest generated like them; cached.

The real ones are the first of bench/packages.txt, imported from their .debs as EROFS that are not
compressed. A generated one has the directories of a program's package (usr/bin, usr/share/doc,
man pages, a data directory of its own) and as many files as the real package that it is modelled
on, 200 at most, of up to 3,000 bytes. On top stands a `base` with busybox and the init of `large`.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import scenario

from bootunion import merge, package, systemlist
from bootunion.contents import FILE
from bootunion.host import build, gathering, importer, packaging, reproducible, signing
from bootunion.host.index import making
from bootunion.host.members import Member
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.manifest import Manifest
from bootunion.systemlist import Layer, SystemList

sys.path[:0] = [str(scenario.TOP / "bench"), str(scenario.TOP / "scripts")]
import erofs_utils  # noqa: E402
import packages  # noqa: E402

SIZES = (500, 2000, 5000)
REAL = 497
MOST_FILES = 200
_FORMAT = "2"  # of what is made here, for the cache
_SUMS = "usr/share/large.sums"
_APPLETS = ("cat", "cut", "echo", "find", "grep", "ls", "mount", "poweroff", "printf", "sed", "sh",
            "sha256sum", "gzip", "base64", "sync", "tr", "uname", "wc", "dd", "sleep",
            "stat", "time")  # fmt: skip


class Large(NamedTuple):
    """What `make` leaves: a store with packages and indexes, and the lists, not signed yet."""

    directory: Path

    @property
    def store(self) -> Path:
        return self.directory / "store"

    def system(self, size: int) -> SystemList:
        """The list of `size` packages."""
        return systemlist.decode((self.directory / f"{size}.json").read_bytes(), subject="x")


def list_name(size: int) -> str:
    """The list of `size` packages."""
    return f"n{size}"


def make(init: str) -> Large:
    """The store; made when the cache has none. `init` is the text of the root's /sbin/init."""
    state = hashlib.sha256(f"{_FORMAT}{init}{SIZES}".encode() + packages.NAMES.read_bytes())
    large = Large(scenario.CACHE / f"large-{state.hexdigest()[:16]}")
    if (large.directory / "complete").exists():
        return large
    shutil.rmtree(large.directory, ignore_errors=True)
    large.directory.mkdir(parents=True)
    os.environ["PATH"] = f"{erofs_utils.tools(scenario.CACHE)}:{os.environ['PATH']}"
    signing.generate(large.directory / "keys")
    signer = Signer(large.directory / "keys/package.key")
    store = Store(large.store).create()
    names = packages.NAMES.read_text().split()
    debs = packages.download(packages.available(names)[:REAL], scenario.CACHE / "large-debs")
    print(f"importing {len(debs)} .debs", flush=True)
    real = importer.import_debs(
        debs, store, signer, lambda _: None, image_format=package.EROFS_UNCOMPRESSED
    )
    made = [*real, *_generated(store, signer, real, max(SIZES) - 2 - len(real))]
    for size in SIZES:
        _write_list(large, store, signer, size, init, made[: size - 2])
    (large.directory / "complete").touch()
    return large


def _generated(
    store: Store, signer: Signer, real: Sequence[Manifest], count: int
) -> list[Manifest]:
    models = [sum(one.type == FILE for one in store.entries(each)) for each in real]
    jobs = [(number, min(models[number % len(models)], MOST_FILES)) for number in range(count)]
    print(f"generating {count} packages of {sum(files for _, files in jobs)} files", flush=True)
    with ProcessPoolExecutor() as pool:
        return list(pool.map(partial(_generate, store.path, signer), jobs, chunksize=20))


def _generate(path: Path, signer: Signer, job: tuple[int, int]) -> Manifest:
    number, files = job
    about = Description(f"gen-{number:04}", "1", "all")
    return packaging.write_package(
        Store(path), _members(number, files), about, None, signer,
        image_format=package.EROFS_UNCOMPRESSED,
    )  # fmt: skip


def _members(number: int, files: int) -> Iterator[Member]:
    name = f"gen-{number:04}"
    places = [f"usr/bin/{name}", f"usr/share/doc/{name}/copyright",
              f"usr/share/doc/{name}/changelog.gz", f"usr/share/man/man1/{name}.1.gz"]  # fmt: skip
    places += [f"usr/share/{name}/part-{at // 40}/file-{at}" for at in range(max(files - 4, 0))]
    for place in sorted(places):
        data = content(place)
        info = tarfile.TarInfo(place)
        info.size, info.mtime = len(data), reproducible.EPOCH
        info.mode = 0o755 if "/bin/" in place else 0o644
        yield info, io.BytesIO(data)


def content(path: str) -> bytes:
    """What a generated file holds: 40 to 3,000 bytes that follow from its path."""
    digest = hashlib.sha256(path.encode()).hexdigest()
    return (f"{path} {digest}\n" * 40)[: 40 + int(digest[:8], 16) % 2961].encode()


def _write_list(
    large: Large, store: Store, signer: Signer, size: int, init: str, rest: Sequence[Manifest]
) -> None:
    base = _package(large, store, signer, "base", _base(init))
    sums = _package(large, store, signer, f"sums-{size}", {_SUMS: _sums(store, [base, *rest])})
    every = [sums, base, *rest]
    layers = tuple(Layer(one.name, one.version, one.architecture, one.image) for one in every)
    print(f"merging and indexing {size} packages", flush=True)
    with gathering.many_values():
        merged = merge.merge(store.entries(one) for one in every)
    system = SystemList(
        list_name(size), 1, 1, reproducible.EPOCH, "amd64", "", layers,
        systemlist.UPPER_VOLATILE, merged.digest([layer.image.root_hash for layer in layers]),
    )  # fmt: skip
    index = making.make(store, system, merged, signer)
    print(f"{size}: {len(merged.paths)} paths, index {index.image.size / 1e6:.1f} MB", flush=True)
    finished = system._replace(index_layer=index)
    (large.directory / f"{size}.json").write_bytes(finished.encode())


def _sums(store: Store, packages: Sequence[Manifest]) -> str:
    """A file of each package with its SHA-256, as sha256sum -c reads it."""
    with gathering.many_values():
        merged = merge.merge(store.entries(one) for one in packages)
    found: dict[int, str] = {}
    for path, (layer, entry) in merged.paths.items():
        if layer not in found and entry.type == FILE and path.isascii() and path.isprintable():
            found[layer] = f"{entry.digest}  /{path}\n"
    return "".join(found.values())


def _base(init: str) -> dict[str, bytes | str]:
    busybox = next(place for place in ("/usr/bin/busybox", "/bin/busybox") if Path(place).exists())
    return {
        "usr/bin/busybox": Path(busybox).read_bytes(), "bin": "->usr/bin", "sbin": "->usr/sbin",
        "lib": "->usr/lib", "lib64": "->usr/lib64", "usr/sbin/init": init,
        "etc/os-release": "ID=large\n", **{f"usr/bin/{name}": "->busybox" for name in _APPLETS},
        **{f"{name}/": "" for name in ("proc", "sys", "dev", "run", "pkgs", "tmp", "usr/lib64")},
    }  # fmt: skip


def _package(
    large: Large, store: Store, signer: Signer, name: str, files: dict[str, bytes | str]
) -> Manifest:
    tree = large.directory / "trees" / name
    for path, data in files.items():
        place = tree / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            place.mkdir(exist_ok=True)
        elif isinstance(data, str) and data.startswith("->"):
            place.symlink_to(data.removeprefix("->"))
        else:
            place.write_bytes(data.encode() if isinstance(data, str) else data)
            place.chmod(0o755)
    made = packaging.write_package(
        store, build.members(tree), Description(name, "1", "amd64"), None, signer,
        image_format=package.EROFS_UNCOMPRESSED,
    )  # fmt: skip
    shutil.rmtree(tree)
    return made
