"""Time and memory of `bootunion plan` for 500 and for 2,000 packages, side by side.

    .venv/bin/python bench/plan.py [--runs N]     (`make bench-plan`)

The 500 are bench/packages.py's. A list of more layers than overlayfs takes is refused, so for 2,000
the command runs with that one bound lifted; each of the 500 is there four times, three of them with
all paths in a directory of their own and another root hash. Whole processes are measured, one after
the other, with the files in the page cache.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import packages
import zstandard

from bootunion import contents, manifest, package, systemlist
from bootunion.contents import Entry
from bootunion.host import reading, signing
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.manifest import Contents, Manifest
from bootunion.systemlist import Layer

COPIES = 4
_BOOTUNION = Path(sys.executable).with_name("bootunion")
_DOES_NOT_BOOT = 5  # what the exit status of a plan says, too: nothing is configured here


class Measured(NamedTuple):
    """One run: seconds by the clock and of the processor, MiB at most in memory."""

    wall: float
    processor: float
    memory: float


def copied(entries: Sequence[Entry], copy: int) -> Iterator[Entry]:
    """The same entries in a directory of their own."""
    yield entries[0]
    yield entries[0]._replace(path=f"copy{copy}")
    for entry in entries[1:]:
        link = entry.hard_link and f"copy{copy}/{entry.hard_link}"
        yield entry._replace(path=f"copy{copy}/{entry.path}", hard_link=link)


def add_copy(store: Store, described: Manifest, copy: int, signer: Signer) -> Manifest:
    """Add a package's copy: the image is a link to the first one's, and is not read."""
    lines = contents.encode(copied(store.entries(described), copy))
    packed = zstandard.ZstdCompressor().compress(lines)
    digest = hashlib.sha256(f"{copy} {described.image.root_hash}".encode()).hexdigest()
    made = described._replace(
        image=described.image._replace(root_hash=digest),
        contents=Contents(hashlib.sha256(packed).hexdigest(), len(packed)),
    )
    (store.packages / made.file_name).hardlink_to(store.packages / described.file_name)
    (store.packages / f"{made.stem}{package.CONTENTS_SUFFIX}").write_bytes(packed)
    envelope = signer(made.encode(), manifest.PAYLOAD_TYPE)
    (store.packages / f"{made.stem}{package.MANIFEST_SUFFIX}").write_bytes(envelope)
    return made


def multiply(made: packages.Made) -> packages.Made:
    """A store with each package `COPIES` times, beside the one that was made."""
    more = packages.Made(made.directory / f"times-{COPIES}")
    if (more.directory / "complete").exists():
        return more
    shutil.rmtree(more.directory, ignore_errors=True)
    shutil.copytree(made.store, more.store, copy_function=os.link)
    shutil.copytree(made.directory / "keys", more.directory / "keys")
    store = Store(more.store)
    trusted = signing.read_trust(more.trust)
    system, _ = reading.read_list(store, trusted, packages.LIST, 0)
    manifests = [reading.read_manifest(store, trusted, layer) for layer in system.layers]
    signer = Signer(more.directory / "keys/package.key")
    copies = [add_copy(store, one, copy, signer) for copy in range(1, COPIES) for one in manifests]
    layers = tuple(Layer(one.name, one.version, one.architecture, one.image)
                   for one in (*manifests, *copies))  # fmt: skip
    longer = system._replace(layers=layers, generation=2)
    envelope = Signer(more.directory / "keys/list.key")(longer.encode(), systemlist.PAYLOAD_TYPE)
    store.add_list(packages.LIST, longer.generation, envelope)
    (more.directory / "complete").touch()
    return more


def command(made: packages.Made, *words: str) -> list[str]:
    return ["plan", packages.LIST, "--store", str(made.store), "--trust", str(made.trust), *words]


def measure(argv: Sequence[str]) -> Measured:
    """Run a program to its end."""
    begun = time.monotonic()
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode in (0, _DOES_NOT_BOOT), child.returncode
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def told(argv: Sequence[str]) -> tuple[int, int, int]:
    """Layers, their paths, and paths of the union, as `--json` tells them."""
    said = subprocess.run([*argv, "--json"], stdout=subprocess.PIPE, check=False).stdout
    found = json.loads(said)
    return (len(found["layers"]), sum(one["paths"] for one in found["layers"]),
            found["union"]["paths"])  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["--unbounded"]:
        systemlist.MAX_LAYERS = 1 << 20
        from bootunion.host import cli  # noqa: PLC0415

        sys.argv[:2] = [str(_BOOTUNION)]
        cli.main()
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    made = packages.make()
    systemlist.MAX_LAYERS = 1 << 20
    unbounded = [sys.executable, str(Path(__file__).resolve()), "--unbounded"]
    commands = [
        [str(_BOOTUNION), *command(made)],
        [*unbounded, *command(multiply(made))],
    ]
    sizes = [told(argv) for argv in commands]  # reads everything into the page cache, too
    found: list[list[Measured]] = [[] for _ in commands]
    for _ in range(runs):
        for argv, each in zip(commands, found, strict=True):
            each.append(measure(argv))
    python, load = sys.version.split()[0], os.getloadavg()[0]
    where = f"Linux {os.uname().release}, Python {python}, {os.cpu_count()} cores"
    print(f"{time.strftime('%Y-%m-%d')}, {where}, load {load:.1f}, {runs} runs")
    print("packages    paths  of the union   wall s (min, median)   processor s     MiB")
    for (layers, paths, united), each in zip(sizes, found, strict=True):
        walls = sorted(one.wall for one in each)
        spent = min(one.processor for one in each)
        memory = max(one.memory for one in each)
        print(f"{layers:8} {paths:8} {united:13} {walls[0]:10.2f} {walls[len(walls) // 2]:9.2f} "
              f"{spent:14.2f} {memory:9.0f}")  # fmt: skip


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
