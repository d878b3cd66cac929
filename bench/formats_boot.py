"""Image formats and their settings through dm-verity, in guest instructions.

    sudo .venv/bin/python bench/formats_boot.py [--count 40] [--sha-ni] [VARIANT…]

The variants of bench/formats.py, of every n-th of its packages, on Debian 13's kernel (Debian 12's
has no zstd for EROFS), one boot for all of them. What is asked is in bench/guest/formats.py; for
`--sha-ni` see bench/running_boot.py. Ratios are to the squashfs tools' defaults.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boot
import boot_image
import boot_store
import formats
import machine
import packages
import running_boot
from boot_image import Guest

from bootunion import package
from bootunion.host import packaging
from bootunion.systemlist import Layer

BASE = "squashfs gzip 128K (the tools' defaults)"


def disk(variants: Sequence[str], layers: Sequence[Layer], store: Path, work: Path) -> Path:
    """An ext4 image with every variant's images and `variants.json`, which describes them."""
    tree = work / "tree"
    tree.mkdir()
    told = []
    for number, variant in enumerate(variants):
        made = formats.make(variant, layers, store)
        kind = package.SQUASHFS if variant.startswith("squashfs") else package.EROFS
        images = []
        for index in range(len(layers)):
            name = f"{number}-{index}.img"
            shutil.copy(made / f"{index}.img", tree / name)
            image = packaging.append_tree(tree / name, kind)
            images.append({"path": f"/sysroot/{name}", "size": image.size, "salt": image.salt,
                           "blocks": image.data_blocks, "root_hash": image.root_hash})  # fmt: skip
        told.append({"name": variant, "kind": kind, "images": images})
        print(variant, file=sys.stderr, flush=True)
    (tree / "variants.json").write_text(json.dumps(told))
    return machine.store_disk(tree, work / "disk.img")


def guest_of(plain: Guest, work: Path, *, sha_ni: bool) -> Guest:
    """The guest with the program that measures."""
    place = work / "more/bench"
    place.mkdir(parents=True)
    shutil.copy(packages.TOP / "bench/guest/formats.py", place / "instead.py")
    shutil.copy(packages.TOP / "bench/image_reading.py", place)
    if sha_ni:
        plain = plain._replace(processor=running_boot.SHA_NI)
        running_boot.add_sha_module(plain, "trixie", work / "more")
    return running_boot.with_more(plain, work / "more", work)


def show(found: dict[str, dict[str, Any]], sizes: dict[str, int], count: int) -> None:
    """The table: for each image, for each MiB, for each read; in brackets times the base."""
    print("| | MiB | mount, ms | pinned, KiB | in order, ms for a MiB | 4 KiB, µs |")
    print("|---|---|---|---|---|---|")
    rows = {
        name: (sizes[name] / (1 << 20), one["mount"] / count / 1e6, one["memory"] / count,
               one["in order"] / 1e6 / (one["bytes"] / (1 << 20)), one["scattered"] / 1e3)
        for name, one in found.items()
    }  # fmt: skip
    for name, row in rows.items():
        cells = [f"{value:,.2f} ({value / base:.2f})"
                 for value, base in zip(row, rows[BASE], strict=True)]  # fmt: skip
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> int:
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words.add_argument("variants", nargs="*")
    words.add_argument("--count", type=int, default=40)
    words.add_argument("--sha-ni", action="store_true")
    given = words.parse_args()
    chosen = list(dict.fromkeys((BASE, *(given.variants or formats.VARIANTS))))
    made = packages.make()
    every = formats.sample(made)
    layers = every[:: len(every) // given.count][: given.count]
    disks = boot_store.make()
    with tempfile.TemporaryDirectory(dir=packages.CACHE) as name:
        work = Path(name)
        image = disk(chosen, layers, made.store, work)
        guest = guest_of(boot_image.make(disks, "trixie"), work, sha_ni=given.sha_ni)
        said = boot.talk(guest, image, "formats", given.count, "icount")
        told = json.loads((work / "tree/variants.json").read_text())
    lines = re.findall(r"^FORMAT (\{.*\})$", said, re.MULTILINE)
    found = {one["variant"]: one for one in map(json.loads, lines)}
    if list(found) != chosen:
        raise machine.MachineError(f"not every variant was measured:\n{said[-3000:]}")
    print(f"{time.strftime('%Y-%m-%d')}, Linux {guest.release}, {len(layers)} packages, "
          f"{guest.processor}\n")  # fmt: skip
    show(found, {one["name"]: sum(image["size"] for image in one["images"]) for one in told},
         len(layers))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
