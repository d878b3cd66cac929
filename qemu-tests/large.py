"""Roots of 500, 2,000 and 5,000 packages, booted: `make large`, or `large.py [--sizes 500 2000]`.

Each list is united by its index. A boot has to come to a shell on the console that answers; what
the guest says of its time, memory and devices is printed and kept in build/large.json. One file of
each package is read and compared with the SHA-256 in its contents (the kernel checks every block of
it). Then the same disk is tampered with, a thing at a time, and booted again: nothing may come up
that was not signed. With --sealed it is Debian 13's kernel, which mounts the packages as files
that are sealed with fs-verity (each boot seals them first: the guest's writes are thrown away).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gzip
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import large_store
import machine
import roots
import scenario
import tiny
from large_store import Large, list_name

from bootunion.systemlist import Layer, SystemList

LABEL = "pkgs"
_SECONDS = 1200
INIT = r"""#!/bin/sh
export PATH=/usr/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
echo "BOOTED $(sed 's/.*"name": "\(n[0-9]*\)", "generation".*/\1/' /run/bootunion/boot.json)"
grep -E '^(MemTotal|MemAvailable|Slab|VmallocUsed|Percpu|KernelStack|PageTables):' /proc/meminfo
echo "UPTIME $(cut -d' ' -f1 /proc/uptime)"
echo "DEVICES loop=$(ls /sys/block | grep -c ^loop) dm=$(ls /sys/block | grep -c ^dm-)"
echo "MOUNT $(grep ' / ' /proc/mounts | tr '\n' ';')"
echo "REPORT $(gzip -c /run/bootunion/boot.json | base64 -w 0)"
if ! grep -q large.quick /proc/cmdline; then
    echo "PATHS $(find / -xdev | wc -l)"
    cp=/usr/share/large.sums
    sha256sum -c $cp > /run/sums 2> /dev/null
    echo "SUMS ok=$(grep -c ': OK$' /run/sums) bad=$(grep -vc ': OK$' /run/sums) of=$(wc -l < $cp)"
fi
echo "SHELL"
exec sh
"""


class Boot(NamedTuple):
    """What a boot said."""

    size: int
    facts: dict[str, int | float | str]
    console: str


def _sign(good: tiny.Tiny, large: Large, size: int) -> Path:
    return tiny.write_list(good, large.store, large.system(size))


def boot(
    good: tiny.Tiny, disk: Path, size: int, memory: int, qemu: machine.Qemu | None = None
) -> Boot:
    """Boot a list to a shell that answers; with a `qemu`, which is for Debian 13, seal it first."""
    cmdline = f"bootunion={list_name(size)} quiet bootunion.on-failure=poweroff"
    log = f"{size}-sealed" if qemu else str(size)
    if qemu:
        cmdline += " tiny.seal"
    start = time.monotonic()
    with machine.boot(
        good.kernel, good.initrd, cmdline, disk, scenario.BUILD / f"large-{log}.console",
        memory=memory, processors=2, qemu=qemu or machine.QEMU,
    ) as running:  # fmt: skip
        running.wait_for(r"^SHELL", _SECONDS)
        took = time.monotonic() - start
        running.type("echo ANSWER-$((6 * 7))")
        running.wait_for(r"^ANSWER-42", 60)
        said = running.console
    return Boot(size, {"wall_s": round(took, 1), **_facts(said)}, said)


def _facts(said: str) -> dict[str, int | float | str]:
    facts: dict[str, int | float | str] = {}
    for name, kib in re.findall(r"^(\w+): +(\d+) kB", said, re.MULTILINE):
        facts[f"{name}_mib"] = int(kib) // 1024
    for pattern, keys in (
        (r"^UPTIME ([\d.]+)", ("uptime_s",)), (r"^PATHS (\d+)", ("paths",)),
        (r"^DEVICES loop=(\d+) dm=(\d+)", ("loop_devices", "dm_devices")),
        (r"^SUMS ok=(\d+) bad=(\d+) of=(\d+)", ("sums_ok", "sums_bad", "sums")),
    ):  # fmt: skip
        if numbers := re.search(pattern, said, re.MULTILINE):
            facts.update(zip(keys, map(float, numbers.groups()), strict=True))
    found = re.search(r"^REPORT (\S+)", said, re.MULTILINE)
    assert found is not None
    report = json.loads(gzip.decompress(base64.b64decode(found[1])))
    facts["agent_ms"] = (report["finished"] - report["started"]) // 1_000_000
    facts["union"] = report["union"]
    facts["by_file"] = report["by_file"]
    for step in report["steps"]:
        key = f"{step['name']}_ms"
        facts[key] = facts.get(key, 0) + (step["end"] - step["start"]) / 1e6  # type: ignore[operator]
    return {key: round(one, 1) if isinstance(one, float) else one for key, one in facts.items()}


def _debugfs(disk: Path, *requests: str) -> None:
    text = "".join(f"{one}\n" for one in requests)
    argv = ["/usr/sbin/debugfs", "-w", "-f", "-", str(disk)]
    subprocess.run(argv, input=text.encode(), check=True, capture_output=True)


@contextlib.contextmanager
def replaced(disk: Path, path: str, data: bytes | None, before: Path) -> Iterator[None]:
    """The file `path` of the disk with other bytes, or away, for a while; `before` is as it was."""
    aside = scenario.BUILD / "large.tampered"
    requests = [f"rm {path}"]
    if data is not None:
        aside.write_bytes(data)
        requests.append(f"write {aside} {path}")
    _debugfs(disk, *requests)
    try:
        yield
    finally:
        _debugfs(disk, *([f"rm {path}"] if data is not None else []), f"write {before} {path}")
        aside.unlink(missing_ok=True)


def flipped(data: bytes, at: int) -> bytes:
    """`data` with a bit of the byte at `at` turned over."""
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def tampering(large: Large, size: int) -> Iterator[tuple[str, str, bytes | None, str]]:
    """(what, the store's file, its new bytes, what the console has to say)."""
    system = large.system(size)
    index = system.index_layer
    assert index is not None
    name = f"lists/{list_name(size)}/1.json"
    signed = (large.store / name).read_bytes()
    yield "a bit of the list's signature", name, flipped(signed, len(signed) - 40), "REFUSED"
    place = f"packages/{index.file_name}"
    image = (large.store / place).read_bytes()
    yield "a bit of the index's superblock", place, flipped(image, 1024 + 40), "REFUSED"
    root = _root_inode(image)
    yield "a bit of the index's root directory", place, flipped(image, root), "REFUSED"
    victim, offset, path = _file(large, system)
    place = f"packages/{victim.file_name}"
    data = (large.store / place).read_bytes()
    text = f"cat: read error: Input/output error|{path}: Input/output error"
    yield "a bit of a package's file", place, flipped(data, offset), text
    yield "a package is missing", place, None, r"REFUSED \[file-missing\]"
    other = next(
        one for one in system.layers if one != victim and one.image.size == victim.image.size
    )
    yield ("another signed package in its place", place,
           (large.store / "packages" / other.file_name).read_bytes(), text)  # fmt: skip


def _root_inode(image: bytes) -> int:
    """Where the index's root inode lies: superblock at 1024, root_nid at 14, meta_blkaddr at 40."""
    nid = int.from_bytes(image[1024 + 14 : 1024 + 16], "little")
    blocks = int.from_bytes(image[1024 + 40 : 1024 + 44], "little")
    return blocks * 4096 + nid * 32 + 8


def _file(large: Large, system: SystemList) -> tuple[Layer, int, str]:
    """A generated package, where the data of its program lies in its image, and its path."""
    layer = [one for one in system.layers if one.name.startswith("gen-")][-1]
    path = f"usr/bin/{layer.name}"
    data = (large.store / "packages" / layer.file_name).read_bytes()
    return layer, data.index(large_store.content(path)), f"/{path}"


def tampered(good: tiny.Tiny, large: Large, disk: Path, size: int, memory: int) -> list[str]:
    """Boot each tampered disk; gives what went wrong."""
    wrong = []
    for number, (what, path, data, said) in enumerate(tampering(large, size)):
        log = scenario.BUILD / f"large-tampered-{number}.console"
        boots = not said.startswith("REFUSED")
        command = "cat " + said.rpartition("|")[2].partition(":")[0]
        cmdline = f"bootunion={list_name(size)} quiet large.quick bootunion.on-failure=poweroff"
        with (
            replaced(disk, path, data, large.store / path),
            machine.boot(good.kernel, good.initrd, cmdline, disk, log, memory=memory) as running,
        ):
            try:
                if boots:
                    running.wait_for(r"^SHELL", _SECONDS)
                    running.type(f"{command} > /dev/null; echo ENDED-$?")
                    running.wait_for(r"^ENDED-[1-9]", 60)
                else:
                    running.end(_SECONDS)
                console = running.console
                fine = re.search(said, console) and (boots or "BOOTED" not in console)
            except machine.MachineError as error:
                fine, console = None, str(error)
        code = re.search(r"REFUSED \[([a-z-]+)\]", console)
        verdict = f"refused: {code[1]}" if code else "boots; reading it is an error"
        print(f"{size} packages, {what}: {verdict if fine else 'WRONG'}", flush=True)
        if not fine:
            wrong.append(f"{what}: {console[-800:]}")
    return wrong


def _table(boots: list[Boot]) -> str:
    columns = ("size", "agent_ms", "attach-loop_ms", "create-verity_ms", "mount-index_ms",
               "bind-file_ms", "verify-list_ms", "uptime_s", "Slab_mib", "MemAvailable_mib",
               "MemTotal_mib", "dm_devices", "by_file", "paths", "sums_ok", "wall_s")  # fmt: skip
    rows = [{"size": one.size, **one.facts} for one in boots]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(str(row.get(key, "")) for key in columns) + " |" for row in rows]
    return "\n".join(lines)


def check(one: Boot, *, sealed: bool) -> list[str]:
    """What is wrong with a boot."""
    facts, wrong = one.facts, []
    count = one.size + 1  # and the index
    if facts["union"] != "index":
        wrong.append(f"{one.size}: {facts['union']}")
    if (facts["dm_devices"], facts["by_file"]) != ((0, count) if sealed else (count, 0)):
        wrong.append(f"{one.size}: {facts['dm_devices']} devices, {facts['by_file']} files")
    if not facts.get("sums") or facts["sums_ok"] != facts["sums"] or facts["sums_bad"]:
        wrong.append(f"{one.size}: {facts.get('sums_ok')} of {facts.get('sums')} files are right")
    return wrong


def main() -> int:
    """Boot all sizes, then tamper with the largest."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=large_store.SIZES)
    parser.add_argument("--memory", type=int, default=6144, help="MiB of the guest")
    parser.add_argument("--no-tampering", action="store_true")
    parser.add_argument("--sealed", action="store_true", help="by files, on Debian 13's kernel")
    wanted = parser.parse_args()
    scenario.BUILD.mkdir(exist_ok=True)
    kernel = roots.kernel("trixie") if wanted.sealed else None
    qemu = roots.newer_qemu() if wanted.sealed else None
    good, large = tiny.make(kernel=kernel), large_store.make(INIT)
    for size in wanted.sizes:
        _sign(good, large, size)
    disk = machine.store_disk(large.store, scenario.BUILD / "large.img", sealable=wanted.sealed)
    boots, wrong = [], []
    for size in wanted.sizes:
        boots.append(boot(good, disk, size, wanted.memory, qemu))
        wrong += check(boots[-1], sealed=wanted.sealed)
        print(json.dumps({"size": size, **boots[-1].facts}), flush=True)
    if not wanted.no_tampering and not wanted.sealed:  # the matrix has what is done to sealed ones
        wrong += tampered(good, large, disk, max(wanted.sizes), wanted.memory)
    found = [{"size": one.size, **one.facts} for one in boots]
    name = "large-sealed.json" if wanted.sealed else "large.json"
    (scenario.BUILD / name).write_text(json.dumps(found, indent=1) + "\n")
    print(_table(boots))
    for line in wrong:
        print(f"WRONG {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
