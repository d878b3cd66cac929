"""What a root of N packages costs while it runs: by its index, layer by layer, and as one squashfs.

    sudo .venv/bin/python bench/running.py [--size 300] [--rounds 3]

Natively, on loop devices and without dm-verity (this host has no device mapper): the same packages
and the same tree for each way. Every round mounts anew and drops all caches first, so everything is
met for the first time; the best of the rounds counts, and ratios are against one squashfs. In µs
for each call: stat of 300 paths that are there, in an order of chance; stat of 1,000 names that are
not, in each of three directories with many files; open of the 300. In ms: reading these
directories, programs started in the root, `find / -xdev`, 64 MiB of files from beginning to end,
2,000 reads of 4 KiB at places of chance, 20 new mount namespaces, unmounting.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import boot_store
import packages

from bootunion import merge, plan
from bootunion.contents import FILE
from bootunion.host import namespace, reading, signing
from bootunion.host.store import Store
from bootunion.initrd import mount
from bootunion.initrd.executor import Executor
from bootunion.initrd.store import Store as Reader
from bootunion.merge import Namespace
from bootunion.systemlist import SystemList

PLACES = ("usr/bin", "usr/lib/x86_64-linux-gnu", "usr/share/doc")
PROGRAMS = (("usr/bin/python3.11", "-c", "import json, re, subprocess"),
            ("usr/bin/perl", "-e", "1"), ("usr/bin/gcc-12", "--version"),
            ("usr/bin/git", "--version"), ("usr/bin/bash", "-c", ":"))  # fmt: skip
BASE = "one squashfs"
_SAMPLE, _ABSENT, _SEQUENTIAL, _RANDOM = 300, 1000, 64 << 20, 2000


class Case(NamedTuple):
    """What is asked of each root: paths that are there, large files, programs with arguments."""

    paths: list[str]
    large: list[str]
    programs: list[tuple[str, ...]]


def case(merged: Namespace) -> Case:
    """A sample that is the same for each way."""
    luck = random.Random(0)
    files = [path for path, (_, entry) in merged.paths.items() if entry.type == FILE and entry.size]
    paths = luck.sample(sorted(files), _SAMPLE)
    by_size = sorted(files, key=lambda path: -merged.paths[path][1].size)
    large: list[str] = []
    for path in by_size[3:]:
        if sum(merged.paths[one][1].size for one in large) >= _SEQUENTIAL:
            break
        large.append(path)
    return Case(paths, large, [one for one in PROGRAMS if one[0] in merged.paths])


def measure(root: str, asked: Case) -> dict[str, float]:
    """Everything for the first time, in this order."""
    found: dict[str, float] = {}
    found["stat, µs"] = median(os.stat, [f"{root}/{path}" for path in asked.paths])
    for place in PLACES:
        names = [f"{root}/{place}/absent-{number}" for number in range(_ABSENT)]
        found[f"miss in /{place}, µs"] = median(absent, names)
    found["open, µs"] = median(opened, [f"{root}/{path}" for path in asked.paths])
    for place in PLACES:
        found[f"readdir of /{place}, ms"] = took(lambda at=place: os.listdir(f"{root}/{at}"))  # noqa: PTH208
    for program in asked.programs:
        drop()
        argv = ["chroot", root, f"/{program[0]}", *program[1:]]
        found[f"{program[0].rpartition('/')[2]} started, ms"] = took(lambda argv=argv: ran(argv))
    drop()
    found["find -xdev, ms"] = took(lambda: ran(["find", root, "-xdev"]))
    drop()
    found["64 MiB in order, ms"] = took(lambda: [read(f"{root}/{one}") for one in asked.large])
    drop()
    found["2,000 reads of 4 KiB, ms"] = took(lambda: at_random(root, asked.large))
    found["20 mount namespaces, ms"] = took(
        lambda: [ran(["unshare", "--mount", "true"]) for _ in range(20)]
    )
    return found


def median(call: Callable[[str], object], paths: list[str]) -> float:
    """µs of a call."""
    times = []
    for path in paths:
        begun = time.perf_counter_ns()
        call(path)
        times.append(time.perf_counter_ns() - begun)
    return statistics.median(times) / 1000


def took(work: Callable[[], object]) -> float:
    """ms."""
    begun = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - begun) / 1e6


def absent(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.stat(path)  # noqa: PTH116


def opened(path: str) -> None:
    os.close(os.open(path, os.O_RDONLY))


def read(path: str) -> None:
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def at_random(root: str, large: list[str]) -> None:
    luck = random.Random(1)
    for _ in range(_RANDOM):
        fd = os.open(f"{root}/{luck.choice(large)}", os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(fd, 4096, luck.randrange(max(os.fstat(fd).st_size - 4096, 1)))
        os.close(fd)


def ran(argv: list[str]) -> None:
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def drop() -> None:
    """Forget what was read; what a mount pins stays."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


@contextlib.contextmanager
def of_list(store: Path, system: SystemList, work: Path) -> Iterator[str]:
    """The root of a list, as a boot mounts it but for dm-verity."""
    steps = plan.for_namespace(system, str(work / "union"), upper="", verity=False)
    with Reader(str(store)) as reader, Executor(reader) as executor:
        executor.execute(steps)
        yield str(work / "union/root")


@contextlib.contextmanager
def of_one(disk: Path, work: Path) -> Iterator[str]:
    """One squashfs of the same tree, out of the disk that bench/boot.py boots.

    What it mounts goes with the mount namespace.
    """
    outer, root = work / "disk", work / "root"
    for place in (outer, root):
        place.mkdir()
    subprocess.run(["mount", "-o", "loop,ro", disk, outer], check=True)
    image = outer / "packages/single.squashfs"
    subprocess.run(["mount", "-t", "squashfs", "-o", "loop,ro", image, root], check=True)
    yield str(root)


def one_round(way: Callable[[Path], contextlib.AbstractContextManager[str]],
              asked: Case) -> dict[str, float]:  # fmt: skip
    """Mount, ask, unmount, in a mount namespace of its own."""
    with tempfile.TemporaryDirectory() as name:

        def work() -> dict[str, float]:
            drop()
            begun = time.perf_counter_ns()
            with way(Path(name)) as root:
                found = {"set-up, ms": (time.perf_counter_ns() - begun) / 1e6}
                drop()
                found |= measure(root, asked)
                begun = time.perf_counter_ns()
                mount.unmount(root, 0)
            found["unmounting, ms"] = (time.perf_counter_ns() - begun) / 1e6
            return found

        return namespace.in_namespace(work)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    disks = boot_store.make()
    single = disks.single(wanted.size)
    disks.indexed()
    trusted = signing.read_trust(disks.trust)
    plain, indexed = Store(disks.store), Store(disks.directory / "indexed")
    systems = {store: reading.read_list(store, trusted, boot_store.list_name(wanted.size), 0)[0]
               for store in (plain, indexed)}  # fmt: skip
    merged = merge.merge(
        plain.entries(reading.signed_manifest(plain, trusted, one.stem))
        for one in systems[plain].layers
    )
    asked = case(merged)
    ways: dict[str, Callable[[Path], contextlib.AbstractContextManager[str]]] = {
        BASE: lambda work: of_one(single, work),
        "index": lambda work: of_list(indexed.path, systems[indexed], work),
        "layers": lambda work: of_list(plain.path, systems[plain], work),
    }
    best: dict[str, dict[str, float]] = {name: {} for name in ways}
    for _ in range(wanted.rounds):
        for name, way in ways.items():
            for what, value in one_round(way, asked).items():
                best[name][what] = min(value, best[name].get(what, value))
            print(name, flush=True, file=sys.stderr)
    load = os.getloadavg()[0]
    print(f"{time.strftime('%Y-%m-%d')}, Linux {os.uname().release}, {wanted.size} packages, "
          f"{len(merged.paths)} paths, load {load:.1f}, best of {wanted.rounds}\n")  # fmt: skip
    print("| | " + " | ".join(ways) + " | index / one |\n" + "|---" * (len(ways) + 2) + "|")
    for what in best[BASE]:
        cells = " | ".join(f"{best[name][what]:,.1f}" for name in ways)
        print(f"| {what} | {cells} | {best['index'][what] / best[BASE][what]:.2f} |")
    return 0


if __name__ == "__main__":
    packages.CACHE.mkdir(exist_ok=True)
    sys.exit(main())
