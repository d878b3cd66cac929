"""Planning and indexing lists of 500, 2,000 and 5,000 packages: time and peak memory of a process.

    sudo .venv/bin/python bench/host.py

The lists are those of `make large` (497 real packages, the rest generated like them). `plan` is the
command; `index` reads every image, checks it and makes the index once more, as `verify` does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import packages

sys.path.append(str(packages.TOP / "qemu-tests"))
import large
import large_store

from bootunion import merge, systemlist
from bootunion.host import gathering, reading, signing
from bootunion.host.index import making
from bootunion.host.signing import Signer
from bootunion.host.store import Store

_BOOTUNION = Path(sys.executable).with_name("bootunion")


def index(directory: Path, size: int) -> None:
    """What the child does."""
    store = Store(directory / "store")
    trusted = signing.read_trust(directory / "keys/trust")
    system = large_store.Large(directory).system(size)
    with gathering.many_values():
        merged = merge.merge(
            store.entries(reading.signed_manifest(store, trusted, one.stem))
            for one in system.layers
        )
    making.check(store, system, merged)


def measured(argv: list[str]) -> tuple[float, float, float]:
    """(wall s, processor s, MiB) of a program that has to succeed."""
    begun = time.monotonic()
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode in (0, 5), child.returncode  # 5: it has no init that a plan would boot
    wall = time.monotonic() - begun
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    if sys.argv[1:]:
        index(Path(sys.argv[1]), int(sys.argv[2]))
        return
    made = large_store.make(large.INIT)
    signer = Signer(made.directory / "keys/list.key")
    trust = str(made.directory / "keys/trust")
    load = os.getloadavg()[0]
    print(f"{time.strftime('%Y-%m-%d')}, Linux {os.uname().release}, load {load:.1f}\n")
    print("| packages | what | wall s | processor s | MiB |\n|---|---|---|---|---|")
    for size in large_store.SIZES:
        payload = made.system(size).encode()
        signed = made.directory / f"{size}.signed.json"
        signed.write_bytes(signer(payload, systemlist.PAYLOAD_TYPE))
        plan = [str(_BOOTUNION), "plan", str(signed), "--store", str(made.store), "--trust", trust]
        again = [sys.executable, __file__, str(made.directory), str(size)]
        for what, argv in (("plan", plan), ("index", again)):
            wall, processor, peak = measured(argv)
            print(f"| {size} | {what} | {wall:.1f} | {processor:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
