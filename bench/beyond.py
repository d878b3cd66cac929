"""Roots of more packages than overlayfs has layers: the ways to them, side by side.

    sudo .venv/bin/python bench/beyond.py [WAY…] [--sets real-500,small-2000,small-5000]

Natively, without dm-verity (the host has no device mapper): what a device costs by itself, and
verity, comes on top for each device. `real-500` are bench/packages.py's packages (499 of them
where an index takes a layer), `small-N` are made: 20 small files each at the places that packages
have theirs. Ways:

- overlay: one overlay of all packages, squashfs on loop devices, as today;
- overlay-erofs: the same of EROFS files, mounted without loop devices;
- index: an EROFS of all names, each file a redirect into data-only EROFS packages (Linux 6.5);
- multi: one EROFS of all names and metadata over the packages' data, which are its further devices;
- groups: packages united fifty at a time in one EROFS each when a list is composed, one overlay of
  these;
- index-groups: the index over the groups as data-only layers.

For each: set-up and taking away (ms); then, everything for the first time, in µs: stat of 300
paths that are there, of 2,000 names that are not in /usr/bin (and the kernel memory that each pins,
KiB), open of the 300; readdir of /usr/bin and /usr/share/doc (ms); the disk in MiB. Median of the
calls, best of the rounds. With --check each path's metadata is compared with the plan's.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import formats
import packages

from bootunion import comparing, contents, merge
from bootunion.contents import Entry
from bootunion.host import reading, signing, walking
from bootunion.host.members import XATTR_PREFIX, Recorder
from bootunion.host.store import Store
from bootunion.initrd import loop, mount
from bootunion.merge import Namespace

EROFS_UTILS = "sid"  # 1.9 merges images into metadata, and keeps holes
GROUP = 50
PLACES = ("usr/bin", "usr/share/doc")
PLAIN = ("-b4096", "-T0", "--mkfs-time", "-Uclear", "--quiet", "--workers=1")
EPOCH = 1_700_000_000


class Set(NamedTuple):
    """Packages, top first: uncompressed EROFS images, for real ones also squashfs; the union."""

    name: str
    directory: Path
    images: list[Path]
    squashfs: list[Path]
    merged: Namespace


class Measured(NamedTuple):
    """One round; see above."""

    setup: float
    stat: float
    miss: float
    memory: float
    bin: float
    doc: float
    open: float
    teardown: float


def tool() -> Path:
    return formats.erofs_utils.tools(packages.CACHE, EROFS_UTILS) / "mkfs.erofs"


def mkfs(image: Path, *words: str | Path, feed: Callable[[IO[bytes]], None] | None = None) -> None:
    image.unlink(missing_ok=True)
    argv = [tool(), *PLAIN, *words]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        assert child.stdin is not None
        # mkfs.erofs ends at the end of the tar; the padding behind it may find no reader.
        with contextlib.suppress(BrokenPipeError):
            if feed is not None:
                feed(child.stdin)
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, argv)


def archive(pipe: IO[bytes]) -> tarfile.TarFile:
    return tarfile.TarFile(fileobj=cast("Any", Counted(pipe)), mode="w", format=tarfile.PAX_FORMAT,
                           encoding="utf-8", errors="surrogateescape")  # fmt: skip


class Counted:
    """A pipe that knows its place."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self._count = pipe, 0

    def tell(self) -> int:
        return self._count

    def write(self, data: bytes) -> int:
        self._pipe.write(data)
        self._count += len(data)
        return len(data)


def root_entry() -> tarfile.TarInfo:
    info = tarfile.TarInfo("./")
    info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, EPOCH
    return info


def real(count: int) -> Set:
    made = packages.make()
    store = Store(made.store)
    trusted = signing.read_trust(made.trust)
    system, _ = reading.read_list(store, trusted, packages.LIST, 0)
    layers = system.layers[:count]
    where = packages.CACHE / f"beyond/real-{count}"
    where.mkdir(parents=True, exist_ok=True)
    images = [where / f"{number}.img" for number in range(count)]
    originals = [made.store / "packages" / layer.file_name for layer in layers]

    def one(number: int) -> None:
        if not images[number].exists():
            aside = images[number].with_suffix(".new")
            with formats.mounted(originals[number]) as root:
                mkfs(aside, "-E^inline_data", aside, root)
            aside.rename(images[number])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, range(count)))
    merged = merge.merge(
        store.entries(reading.read_manifest(store, trusted, layer)) for layer in layers
    )
    return Set(f"real-{count}", where, images, originals, merged)


def small(count: int) -> Set:
    where = packages.CACHE / f"beyond/small-{count}"
    where.mkdir(parents=True, exist_ok=True)
    shared = where.with_name("small")
    shared.mkdir(exist_ok=True)
    images = [shared / f"{number}.img" for number in range(count)]

    def one(number: int) -> list[Entry]:
        recorder = Recorder("small", EPOCH)

        def feed(pipe: IO[bytes]) -> None:
            with archive(pipe) as tar:
                tar.addfile(root_entry())
                recorder.pass_on(list(members(number)), tar)

        if images[number].exists():
            with open(os.devnull, "wb") as nowhere:
                feed(nowhere)
        else:
            aside = images[number].with_suffix(".new")
            mkfs(aside, "--tar=f", "-E^inline_data", aside, feed=feed)
            aside.rename(images[number])
        return sorted(recorder.entries.values())

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(one, range(count)))
    return Set(f"small-{count}", where, images, [], merge.merge(found))


def members(number: int) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """The 20 files of a made package."""
    choose = random.Random(number)
    name = f"package-{number:04}"
    paths = [f"usr/bin/{name}", f"usr/share/doc/{name}/copyright",
             f"usr/share/doc/{name}/changelog",
             f"usr/lib/x86_64-linux-gnu/lib{name}.so.1", f"var/lib/dpkg/info/{name}.list",
             *(f"usr/share/{name}/{index}" for index in range(10)),
             *(f"usr/lib/python3/{name}/{index}.py" for index in range(5))]  # fmt: skip
    for path in paths:
        info = tarfile.TarInfo(path)
        data = choose.randbytes(64) * choose.randrange(1, 128)
        info.size, info.mode, info.mtime = len(data), 0o755 if "bin/" in path else 0o644, EPOCH
        yield info, io.BytesIO(data)


def index(packs: Set, target: Path) -> Path:
    """All names; each regular file a redirect to itself in the data-only layers."""

    def feed(pipe: IO[bytes]) -> None:
        with archive(pipe) as tar:
            tar.addfile(root_entry())
            for path, (_, entry) in sorted(packs.merged.paths.items()):
                if path:
                    tar.addfile(as_member(entry))

    aside = target.with_suffix(".new")
    mkfs(aside, "--tar=headerball", "--chunksize=4194304", aside, feed=feed)
    aside.rename(target)
    return target


_KINDS = {
    contents.DIRECTORY: tarfile.DIRTYPE, contents.SYMLINK: tarfile.SYMTYPE,
    contents.CHARACTER: tarfile.CHRTYPE, contents.BLOCK: tarfile.BLKTYPE,
    contents.FIFO: tarfile.FIFOTYPE, contents.FILE: tarfile.REGTYPE,
}  # fmt: skip


def as_member(entry: Entry) -> tarfile.TarInfo:
    info = tarfile.TarInfo(entry.path)
    info.type, info.mode, info.mtime = _KINDS[entry.type], entry.mode, entry.mtime
    info.uid, info.gid, info.linkname = entry.uid, entry.gid, entry.target
    info.devmajor, info.devminor = entry.device
    xattrs = {key: bytes.fromhex(value) for key, value in entry.xattrs}
    if entry.type == contents.FILE:
        info.size = entry.size
        if entry.size:
            xattrs["trusted.overlay.metacopy"] = b""
            xattrs["trusted.overlay.redirect"] = f"/{entry.path}".encode("utf-8", "surrogateescape")
    for key, value in xattrs.items():
        info.pax_headers[XATTR_PREFIX + key] = value.decode("utf-8", "surrogateescape")
    return info


def groups(packs: Set) -> list[Path]:
    """Fifty packages in a row as one image, made of their union; kept in the cache."""
    made = []
    for first in range(0, len(packs.images), GROUP):
        target = packs.directory / f"group-{first}"
        made.append(target)
        if target.exists():
            continue
        aside = target.with_suffix(".new")
        with tempfile.TemporaryDirectory() as where, contextlib.ExitStack() as stack:
            tree = overlay(stack, [erofs_tree(stack, one) for one in packs.images[first:][:GROUP]])
            mount.attach(tree, where)
            stack.callback(mount.unmount, where, mount.MNT_DETACH)
            mkfs(aside, "-E^inline_data", aside, where)
        aside.rename(target)
    return made


def erofs_tree(stack: contextlib.ExitStack, image: Path, devices: Sequence[Path] = ()) -> int:
    """An EROFS file mounted without a loop device, detached."""
    with mount.FileSystemContext("erofs") as context:
        context.flag("ro")
        context.string("source", str(image))
        for device in devices:
            context.string("device", str(device))
        tree = context.mount(mount.MOUNT_ATTR_RDONLY)
    stack.callback(os.close, tree)
    return tree


def squashfs_tree(stack: contextlib.ExitStack, image: Path) -> int:
    with image.open("rb") as file, loop.Control() as loops:
        held, device = loops.attach(file.fileno(), image.stat().st_size, image.name)
    with mount.FileSystemContext("squashfs") as context:
        context.flag("ro")
        context.string("source", device)
        tree = context.mount(mount.MOUNT_ATTR_RDONLY)
    os.close(held)
    stack.callback(os.close, tree)
    return tree


def overlay(stack: contextlib.ExitStack, layers: Sequence[int], data: Sequence[int] = ()) -> int:
    """An overlay of detached trees (Linux 6.15), read-only and detached."""
    with mount.FileSystemContext("overlay") as context:
        for layer in layers:
            context.descriptor("lowerdir+", layer)
        for layer in data:
            context.descriptor("datadir+", layer)
        context.string("metacopy", "on" if data else "off")
        context.string("redirect_dir", "follow" if data else "nofollow")
        context.flag("ro")
        context.string("source", "bench")
        tree = context.mount(mount.MOUNT_ATTR_RDONLY)
    stack.callback(os.close, tree)
    return tree


class Way(NamedTuple):
    """How a root is made: what is made before, and what is mounted, and which files it takes."""

    prepare: Callable[[Set], list[Path]]
    setup: Callable[[contextlib.ExitStack, Set, list[Path]], int]
    most: int = 1 << 20


def _overlay_squashfs(stack: contextlib.ExitStack, _: Set, files: list[Path]) -> int:
    return overlay(stack, [squashfs_tree(stack, one) for one in files])


def _overlay_erofs(stack: contextlib.ExitStack, _: Set, files: list[Path]) -> int:
    return overlay(stack, [erofs_tree(stack, one) for one in files])


def _index(stack: contextlib.ExitStack, _: Set, files: list[Path]) -> int:
    trees = [erofs_tree(stack, one) for one in files]
    return overlay(stack, trees[:1], trees[1:])


def _multi(stack: contextlib.ExitStack, _: Set, files: list[Path]) -> int:
    return erofs_tree(stack, files[0], files[1:])


def _merged_image(packs: Set) -> list[Path]:
    target = packs.directory / "merged"
    if not target.exists():
        aside = target.with_suffix(".new")
        # mkfs.erofs lets the last image that has a path win, a list the first. The devices have
        # to be given in the same order again.
        mkfs(aside, aside, *packs.images[::-1])
        aside.rename(target)
    return [target, *packs.images[::-1]]


def _indexed(packs: Set, data: list[Path]) -> list[Path]:
    target = packs.directory / "index"
    return [target if target.exists() else index(packs, target), *data]


WAYS = {
    "overlay": Way(lambda packs: packs.squashfs, _overlay_squashfs, 500),
    "overlay-erofs": Way(lambda packs: packs.images, _overlay_erofs, 500),
    "index": Way(lambda packs: _indexed(packs, packs.images[:499]), _index, 500),
    "multi": Way(_merged_image, _multi),
    "groups": Way(groups, _overlay_erofs),
    "index-groups": Way(lambda packs: _indexed(packs, groups(packs)), _index),
}


def measure(way: Way, packs: Set, files: list[Path], *, check: bool) -> Measured:
    """One round of one way."""
    choose = random.Random(5)
    there = [path for path, (layer, entry) in packs.merged.paths.items()
             if entry.type == contents.FILE and layer < 499 and entry.size]  # fmt: skip
    picked = choose.sample(sorted(there), 300)
    formats.drop_caches()
    with tempfile.TemporaryDirectory(prefix="bootunion-") as where:
        stack = contextlib.ExitStack()
        begun = time.perf_counter()
        tree = way.setup(stack, packs, files)
        setup = time.perf_counter() - begun
        mount.attach(tree, where)
        with stack:
            stats = [timed(os.stat, f"{where}/{path}") for path in picked]
            before = slab()
            misses = [timed(missing, f"{where}/usr/bin/no-{number}") for number in range(2000)]
            memory = (slab() - before) / 2000
            lists = [timed(os.listdir, f"{where}/{place}") for place in PLACES]
            opens = [timed(opened, f"{where}/{path}") for path in picked]
            wrong = [] if not check else list(differences(packs, where))
            mount.unmount(where, mount.MNT_DETACH)
            begun = time.perf_counter()
        teardown = time.perf_counter() - begun
    for one in wrong[:5]:
        print("DIFFERENT", one, flush=True)
    if check:
        print(f"{len(wrong)} of {len(packs.merged.paths)} paths differ", flush=True)
    middle = statistics.median
    return Measured(setup * 1e3, middle(stats), middle(misses), memory, lists[0] / 1e3,
                    lists[1] / 1e3, middle(opens), teardown * 1e3)  # fmt: skip


def differences(packs: Set, where: str) -> Iterator[comparing.Difference]:
    entries = dict(packs.merged.paths)
    yield from comparing.compare(entries, walking.walk(where, content=False))


def timed(call: Callable[[str], object], path: str) -> float:
    """µs."""
    begun = time.perf_counter_ns()
    call(path)
    return (time.perf_counter_ns() - begun) / 1000


def missing(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.lstat(path)


def opened(path: str) -> None:
    os.close(os.open(path, os.O_RDONLY))


def slab() -> int:
    words = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(words["Slab"].split()[0])


def main() -> int:
    words = argparse.ArgumentParser()
    words.add_argument("ways", nargs="*")
    words.add_argument("--sets", default="real-500,small-500,small-2000,small-5000")
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--check", action="store_true")
    given = words.parse_args()
    load = os.getloadavg()[0]
    print(f"{time.strftime('%Y-%m-%d')}, Linux {os.uname().release}, {os.cpu_count()} cores, "
          f"load {load:.1f}, best of {given.rounds}")  # fmt: skip
    for name in given.sets.split(","):
        kind, _, count = name.partition("-")
        packs = real(int(count)) if kind == "real" else small(int(count))
        print(f"\n{name}: {len(packs.merged.paths)} paths\n")
        print("| | set-up ms | stat µs | miss µs | KiB per miss | readdir bin ms | readdir doc ms "
              "| open µs | taking away ms | disk MiB |")  # fmt: skip
        print("|---|---|---|---|---|---|---|---|---|---|")
        for label in given.ways or WAYS:
            show(label, WAYS[label], packs, given.rounds, check=given.check)
    return 0


def show(label: str, way: Way, packs: Set, rounds: int, *, check: bool) -> None:
    if len(packs.images) > way.most or (label == "overlay" and not packs.squashfs):
        print(f"| {label} | not possible: {len(packs.images)} layers |" + " |" * 8, flush=True)
        return
    files = way.prepare(packs)
    several = [measure(way, packs, files, check=check and not n) for n in range(rounds)]
    best = [min(column) for column in zip(*several, strict=True)]
    disk = sum(one.stat().st_blocks for one in files) / 2048
    print(f"| {label} | " + " | ".join(f"{one:.1f}" for one in best) + f" | {disk:.0f} |",
          flush=True)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
