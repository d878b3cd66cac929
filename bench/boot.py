"""How long a root of N real packages takes to make, by each way, and what memory it keeps.

    sudo .venv/bin/python bench/boot.py [--how agent,floor,…] [--sizes 10,50,…] [--runs N]
                                        [--clock icount|wall] [--kernel SUITE]    (`make bench`)

Each measurement is one boot of a Debian suite's stock kernel in QEMU (bench/guest/init). With the
clock `icount` there is one processor, and the guest's clock counts its instructions, a nanosecond
each: what is measured repeats, whatever else the host does. `wall` is two processors and the host's
clock. The disk is a pmem device, which is read and written without waiting, and packages are read
into the page cache first: the guest is never idle, which is what would make its clock run ahead.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import boot_image
import boot_store
import boot_sysext
import machine
import packages
from boot_image import Guest
from boot_store import Disks

# The agent over squashfs, over EROFS, and over EROFS packages that are sealed with fs-verity (which
# needs trixie's kernel); the same by an index; what they are compared with.
# A floor's variants: loop devices that are there before, an option of dm-verity's.
WAYS = ("agent", "erofs", "files", "index", "index-files", "floor", "shell", "single", "sysext",
        "floor-loops", "floor-try_verify_in_tasklet", "floor-ignore_zero_blocks",
        "floor-check_at_most_once")  # fmt: skip
USUAL = ("agent", "index", "floor", "shell", "single")
_SEALED = ("files", "index-files")
_LIMIT = 2400  # seconds of the host; the slowest is the shell with 499 packages
_MEMORY = 4096  # MiB


class Run(NamedTuple):
    """One measurement. `ms` is from exec to the end, by the guest's clock; memory is KiB.

    `clock` is "icount" or "wall", with the kernel's suite behind it where it is not bookworm's.
    `failed` is what systemd-sysext says when it makes no root, which is a result, too.
    """

    how: str
    size: int
    clock: str
    ms: float
    steps: dict[str, float]
    memory: dict[str, int]
    grew: dict[str, dict[str, int]]
    when: str
    failed: str = ""


def arguments(
    guest: Guest, disk: Path, how: str, name: str, clock: str, more_words: str = ""
) -> list[str]:
    """QEMU's command line."""
    size = disk.stat().st_size
    size += -size % (2 << 20)
    words = f"bench.how={how} bench.list={name} bootunion={name}{more_words}"
    if how in _SEALED:
        words += " bench.seal"
    timing = {"icount": ("tcg", "1", ["-icount", "shift=0,sleep=off"]), "wall": ("tcg", "2", [])}
    accelerator, processors, more = timing[clock]
    os.truncate(disk, size)
    return [
        "nice", *guest.qemu.argv, "-cpu", guest.processor, "-accel", accelerator, *more,
        "-smp", processors,
        "-machine", "pc,nvdimm=on", "-m", f"{_MEMORY}M,slots=2,maxmem=16G",
        "-object", f"memory-backend-file,id=disk,share=off,mem-path={disk},size={size}",
        "-device", "nvdimm,id=pmem,memdev=disk",
        "-display", "none", "-no-reboot", "-monitor", "none", "-serial", "stdio", "-nic", "none",
        "-kernel", str(guest.kernel), "-initrd", str(guest.initrd),
        "-append", f"console=ttyS0 panic=1 quiet no_timer_check nokaslr {words}",
        "-device", f"isa-debug-exit,iobase={machine.EXIT_PORT:#x},iosize=4",
    ]  # fmt: skip


def measure(guest: Guest, disks: Disks, how: str, size: int, clock: str) -> Run:
    """Boot once. Raises MachineError when the guest does not make the root."""
    return read(console(guest, disks, how, size, clock), how, size, clock + guest.suffix)


def console(guest: Guest, disks: Disks, how: str, size: int, clock: str, words: str = "") -> str:
    """What a guest says until it is done; `words` are added to its kernel's command line."""
    made: dict[str, Callable[[], Path]] = {
        "single": lambda: disks.single(size), "index": disks.indexed, "index-files": disks.indexed,
        "erofs": disks.erofs, "files": disks.erofs,
        "sysext": lambda: boot_sysext.disk(disks, size),
    }  # fmt: skip
    return talk(guest, made.get(how, lambda: disks.packages)(), how, size, clock, words)


def talk(guest: Guest, disk: Path, how: str, size: int, clock: str, words: str = "") -> str:
    """As `console`, with a disk."""
    name = boot_store.list_name(size)
    log = packages.TOP / f"build/bench/{how}-{size}-{clock}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (log.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one machine at a time
        running = machine.Machine(arguments(guest, disk, how, name, clock, words), log, show=False)
        try:
            running.wait_for("BENCH-DONE", _LIMIT)
            running.end()
        finally:
            running.kill()
    return running.console.replace("\r", "")


def read(text: str, how: str, size: int, clock: str) -> Run:
    """What a guest said."""
    metered = re.search(r"^METER (.*)$", text, re.MULTILINE)
    found = re.search(r"^FOUND verity=(\d+) root=(\d+) pkgs=(\d+) usr=(\d+)$", text, re.MULTILINE)
    if metered is None or found is None:
        raise machine.MachineError(f"{how} {size}: no measurement:\n{text[-3000:]}")
    meter = json.loads(metered[1])
    made = tuple(map(int, found.groups()))
    # Beside the packages there are the mount points' one, and the index.
    expected = {"single": 1, "index": size + 2, "files": 0, "index-files": 0,
                "sysext": size}.get(how, size + 1)  # fmt: skip
    right = made[0] == expected and all(made[1:]) and not meter["status"]
    failed = ""
    if how == "sysext" and not right:
        # It ends with 0 all the same. Behind the second's 80 characters are the mount options.
        failed = "; ".join(re.findall(r"overlayfs: .*|^Failed to .{,80}", text, re.MULTILINE))
    if not right and not failed and how != "python":
        raise machine.MachineError(f"{how} {size}: no root ({found[0]}):\n{text[-3000:]}")
    grew: dict[str, dict[str, int]] = {"vmalloc": {}, "slabs": {}}
    for kind, key, kib in re.findall(r"^GREW (\w+) (\S+) (\d+)$", text, re.MULTILINE):
        grew[kind][key] = int(kib)
    return Run(how, size, clock, meter["ns"] / 1e6, _steps(text, meter), _memory(meter), grew,
               time.strftime("%Y-%m-%d %H:%M:%S"), failed)  # fmt: skip


def _steps(text: str, meter: dict[str, Any]) -> dict[str, float]:
    """Milliseconds by step: the agent's report, or what the floor printed."""
    spent: dict[str, float] = defaultdict(float)
    report = re.search(r"^REPORT (\{.*\})$", text, re.MULTILINE)
    printed = re.search(r'^(\{"prepare": .*\})$', text, re.MULTILINE)
    if report is not None:
        told = json.loads(report[1])
        for step in told["steps"]:
            spent[step["name"]] += (step["end"] - step["start"]) / 1e6
        spent["before-started"] = (told["started"] - meter["started"]) / 1e6
        spent["after-finished"] = (meter["started"] + meter["ns"] - told["finished"]) / 1e6
    elif printed is not None:
        spent.update({name: ns / 1e6 for name, ns in json.loads(printed[1]).items()})
    if spent:
        spent["other"] = meter["ns"] / 1e6 - sum(spent.values())
    return {name: round(ms, 3) for name, ms in spent.items()}


def _memory(meter: dict[str, Any]) -> dict[str, int]:
    """KiB: what the kernel keeps when every cache is dropped, and the most that was taken."""
    base, before, after, dropped = (meter[k] for k in ("base", "before", "after", "dropped"))
    kept = {name.lower(): dropped[name] - base[name] for name in ("Slab", "VmallocUsed", "Percpu")}
    return {
        **kept,
        "pinned": base["MemFree"] - dropped["MemFree"],
        "taken": before["MemFree"] - after["MemFree"],
        "process": meter["max_rss"],
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--how", default=",".join(USUAL), help=", ".join(WAYS))
    parser.add_argument("--sizes", default=",".join(map(str, boot_store.SIZES)))
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--clock", choices=("icount", "wall"), default="icount")
    parser.add_argument("--kernel", choices=("bookworm", "trixie"), default="bookworm")
    parser.add_argument("--results", type=Path, default=packages.TOP / "build/bench/results.jsonl")
    options = parser.parse_args()
    disks = boot_store.make()
    guest = boot_image.make(disks, options.kernel)
    for size in map(int, options.sizes.split(",")):
        for how in options.how.split(","):
            for _ in range(options.runs):
                begun = time.monotonic()
                one = measure(guest, disks, how, size, options.clock)
                with options.results.open("a") as file:
                    file.write(json.dumps(one._asdict()) + "\n")
                print(f"{how:8} {size:4} {one.ms:10.2f} ms   pinned {one.memory['pinned'] >> 10:4} "
                      f"MiB   ({time.monotonic() - begun:.0f} s)   {one.failed}",
                      flush=True)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
