"""In the virtual machine: mounts and reads each variant's images through dm-verity."""

from __future__ import annotations

import json
import os
import sys
import time

sys.path += ["/usr/lib/bootunion/agent", "/bench"]
import image_reading

from bootunion import verity
from bootunion.initrd import dm, loop, mount

READS = 2000


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
    files = [one for tree in trees for one in sorted(image_reading.below(f"/proc/self/fd/{tree}"))]
    warm(images)
    read, in_order = image_reading.read_all(files)
    warm(images)
    scattered = image_reading.read_scattered(files, READS)
    for fd in (*trees, *held):
        os.close(fd)
    dm.remove_all(names)
    return {"variant": variant["name"], "mount": took, "memory": memory, "bytes": read,
            "in order": in_order, "scattered": scattered}  # fmt: skip


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
    image_reading.read_into_cache(images)


main()
