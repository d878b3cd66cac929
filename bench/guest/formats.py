"""In the virtual machine: mounts and reads each variant's images through dm-verity."""

from __future__ import annotations

import json
import os
import random
import sys
import time

sys.path.append("/usr/lib/bootunion/agent")
from bootunion import verity
from bootunion.initrd import dm, loop, mount

READS = 2000
PIECE = 4096


def main() -> None:
    with open("/sysroot/variants.json", encoding="utf-8") as file:
        variants = json.load(file)
    with loop.Control() as loops, dm.Control() as mapper:
        measure(variants[0], loops, mapper)  # makes the devices and loads what is loaded once
        for variant in variants:
            print("FORMAT", json.dumps(measure(variant, loops, mapper)), flush=True)


def measure(variant: dict, loops: loop.Control, mapper: dm.Control) -> dict:
    """Times in ns, memory in KiB."""
    images = [one["path"] for one in variant["images"]]
    devices, held, names = [], [], []
    for one in variant["images"]:
        image = os.open(one["path"], os.O_RDONLY)
        device, path = loops.attach(image, one["size"], one["path"])
        os.close(image)
        table = verity.table_line(path, one["blocks"], one["root_hash"], one["salt"])
        names.append(f"bench-{one['root_hash'][:16]}")
        size = one["blocks"] * verity.BLOCK_SIZE
        devices.append(mapper.create(names[-1], f"BENCH-{one['root_hash']}", "verity", table, size))
        held.append(device)
    before = pinned()
    warm(images)
    begun = time.perf_counter_ns()
    trees = [mount.image(variant["kind"], device) for device in devices]
    took = time.perf_counter_ns() - begun
    memory = pinned() - before
    files = [one for tree in trees for one in sorted(below(f"/proc/self/fd/{tree}"))]
    warm(images)
    read, in_order = read_all(files)
    warm(images)
    scattered = read_scattered(files)
    for fd in (*trees, *held):
        os.close(fd)
    dm.remove_all(names)
    return {"variant": variant["name"], "mount": took, "memory": memory, "bytes": read,
            "in order": in_order, "scattered": scattered / READS}  # fmt: skip


def pinned() -> int:
    drop()
    with open("/proc/meminfo", encoding="ascii") as file:
        words = dict(line.split(":") for line in file)
    return sum(int(words[key].split()[0]) for key in ("Slab", "VmallocUsed", "Percpu"))


def drop() -> None:
    for _ in range(3):
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("3")


def warm(images: list) -> None:
    """Drop every cache, then read the image files into the page cache."""
    drop()
    for image in images:
        with open(image, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass


def below(root: str):
    """Path and size of each regular file that is not empty."""
    for directory, _, files in os.walk(f"{root}/."):
        for name in files:
            status = os.lstat(f"{directory}/{name}")
            if status.st_mode & 0o170000 == 0o100000 and status.st_size:
                yield f"{directory}/{name}", status.st_size


def read_all(files: list) -> tuple:
    total, begun = 0, time.perf_counter_ns()
    for path, _ in files:
        fd = os.open(path, os.O_RDONLY)
        while piece := os.read(fd, 1 << 17):
            total += len(piece)
        os.close(fd)
    return total, time.perf_counter_ns() - begun


def read_scattered(files: list) -> int:
    """Open, read, close. A file is as likely as it is large."""
    choose = random.Random(7)
    picked = choose.choices(files, weights=[size for _, size in files], k=READS)
    places = [(path, choose.randrange(-(-size // PIECE)) * PIECE) for path, size in picked]
    begun = time.perf_counter_ns()
    for path, offset in places:
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(fd, PIECE, offset)
        os.close(fd)
    return time.perf_counter_ns() - begun


main()
