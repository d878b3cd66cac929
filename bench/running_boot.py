"""What a root of N packages costs while it runs, through dm-verity: in a virtual machine.

    sudo .venv/bin/python bench/running_boot.py [--size 300] [--runs 3] [--sha-ni]

The roots that bench/boot.py makes, one boot each: one squashfs, the index, layer by layer. The
guest's clock counts instructions: it is what the kernel and the programs do, hashing and
decompressing included; there is no disk to wait for. What is asked is in bench/asking.py. The usual
processor hashes in plain C; `--sha-ni` is one that has instructions for SHA-256, as machines of the
last years have, in Debian 13's QEMU, which knows them.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import boot
import boot_image
import boot_store
import machine
import packages
import roots
import running
import running_store
import tiny
from boot_image import Guest
from boot_store import Disks

from bootunion.host import reading, signing
from bootunion.host.store import Store

WAYS = {"single": "one squashfs", "index": "index", "agent": "layers"}
SHA_NI = "qemu64,+rdrand,+ssse3,+sse4.1,+sha-ni"


def with_case(guest: Guest, disks: Disks, size: int, work: Path) -> Guest:
    """The guest with what is asked.

    Where the processor has instructions for SHA-256, with the module that uses them: dm-verity
    takes what is loaded before it, and does not ask for a better one.
    """
    store, trusted = Store(disks.store), signing.read_trust(disks.trust)
    system, _ = reading.read_list(store, trusted, boot_store.list_name(size), 0)
    place = work / "tree/bench"
    place.mkdir(parents=True)
    asked = running.case(running.merged_of(store, trusted, system))
    (place / "case.json").write_text(json.dumps(vars(asked)))
    shutil.copy(packages.TOP / "bench/asking.py", place)
    if guest.processor == SHA_NI:
        add_sha_module(guest, "bookworm", work / "tree")
    return with_more(guest, work / "tree", work)


def add_sha_module(guest: Guest, suite: str, tree: Path) -> None:
    """Put the guest's modules into a tree, the one that hashes faster before all others."""
    modules = tree / "modules"
    modules.mkdir()
    names = ("sha256-ssse3", *boot_image.MODULES)
    tiny.install_modules(roots.kernel(suite)[0], guest.release, modules, names)


def with_more(guest: Guest, tree: Path, work: Path) -> Guest:
    """The guest with a directory's files: the kernel unpacks one archive after the other."""
    tiny.archive(tree, work / "more.img")
    initrd = work / "initrd.img"
    first = guest.initrd.read_bytes()
    padding = b"\0" * (-len(first) % 512)
    initrd.write_bytes(first + padding + (work / "more.img").read_bytes())
    return guest._replace(initrd=initrd)


def ask(guest: Guest, disks: Disks, how: str, size: int) -> dict[str, float]:
    """One boot. Raises MachineError when the guest does not answer."""
    said = boot.console(guest, disks, how, size, "icount", words=" bench.asked")
    boot.read(said, how, size, "icount")
    found = re.search(r"^ASKED (\{.*\})$", said, re.MULTILINE)
    if found is None:
        raise machine.MachineError(f"{how} {size}: no answer:\n{said[-3000:]}")
    return dict(json.loads(found[1]))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=300)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sha-ni", action="store_true")
    wanted = parser.parse_args()
    disks = running_store.make(wanted.size)
    plain = boot_image.make(disks)
    if wanted.sha_ni:
        plain = plain._replace(qemu=roots.newer_qemu(), processor=SHA_NI)
    found: dict[str, list[dict[str, float]]] = {how: [] for how in WAYS}
    with tempfile.TemporaryDirectory() as work:
        guest = with_case(plain, disks, wanted.size, Path(work))
        for how, times in found.items():
            for _ in range(wanted.runs):
                times.append(ask(guest, disks, how, wanted.size))
                print(how, json.dumps(times[-1], ensure_ascii=False), file=sys.stderr, flush=True)
    day, heads = time.strftime("%Y-%m-%d"), " | ".join(WAYS.values())
    print(f"{day}, Linux {guest.release}, {wanted.size} packages, {plain.processor}, "
          f"best of {wanted.runs}\n")  # fmt: skip
    print(f"| | {heads} | index / one | apart, % |")
    print("|---" * (len(WAYS) + 3) + "|")
    for what in found["single"][0]:
        row = {how: [one[what] for one in times] for how, times in found.items()}
        best = {how: min(times) for how, times in row.items()}
        apart = max(max(times) / min(times) - 1 for times in row.values()) * 100
        cells = " | ".join(f"{one:,.2f}" for one in best.values())
        print(f"| {what} | {cells} | {best['index'] / best['single']:.2f} | {apart:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
