"""What a root of N packages costs while it runs: by its index, layer by layer, and as one squashfs.

    sudo .venv/bin/python bench/running.py [--size 300] [--rounds 3]

Natively, on loop devices and without dm-verity (this host has no device mapper): the same packages
and the same tree for each way. Every round mounts anew and drops all caches first, so everything is
met for the first time; the best of the rounds counts, and ratios are against one squashfs. What is
asked is in bench/asking.py. With dm-verity, in a virtual machine: bench/running_boot.py.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asking
import boot_store
import packages
from asking import Case

from bootunion import merge, plan, trust
from bootunion.contents import FILE
from bootunion.host import namespace, reading, signing
from bootunion.host.store import Store
from bootunion.initrd import mount
from bootunion.initrd.executor import Executor
from bootunion.initrd.store import Store as Reader
from bootunion.systemlist import SystemList

BASE = "one squashfs"


def case(store: Store, trusted: trust.Trust, system: SystemList) -> Case:
    """A sample of a list's root, the same for each way, and the programs that start in it."""
    merged = merge.merge(
        store.entries(reading.signed_manifest(store, trusted, one.stem)) for one in system.layers
    )
    luck = random.Random(0)
    files = [path for path, (_, entry) in merged.paths.items() if entry.type == FILE and entry.size]
    paths = luck.sample(sorted(files), asking.SAMPLE)
    by_size = sorted(files, key=lambda path: -merged.paths[path][1].size)
    large: list[str] = []
    for path in by_size[3:]:
        if sum(merged.paths[one][1].size for one in large) >= asking.SEQUENTIAL:
            break
        large.append(path)
    return Case(paths, large, programs(store, system))


def runs(argv: list[str]) -> bool:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode == 0


def programs(store: Store, system: SystemList) -> list[list[str]]:
    """Those that find their libraries among the packages."""
    with tempfile.TemporaryDirectory() as name:

        def work() -> list[list[str]]:
            with of_list(store.path, system, Path(name)) as root:
                asking.show_devices(root)
                every = [list(one) for one in asking.PROGRAMS]
                return [one for one in every if runs(asking.in_root(root, one))]

        return namespace.in_namespace(work)


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
            asking.drop()
            begun = time.perf_counter_ns()
            with way(Path(name)) as root:
                found = {"set-up, ms": (time.perf_counter_ns() - begun) / 1e6}
                found |= asking.measure(root, asked)
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
    asked = case(plain, trusted, systems[plain])
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
          f"load {load:.1f}, best of {wanted.rounds}\n")  # fmt: skip
    print("| | " + " | ".join(ways) + " | index / one |\n" + "|---" * (len(ways) + 2) + "|")
    for what in best[BASE]:
        cells = " | ".join(f"{best[name][what]:,.1f}" for name in ways)
        print(f"| {what} | {cells} | {best['index'][what] / best[BASE][what]:.2f} |")
    return 0


if __name__ == "__main__":
    packages.CACHE.mkdir(exist_ok=True)
    sys.exit(main())
