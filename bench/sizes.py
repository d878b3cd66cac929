"""Sizes of the demo's packages, and the agent's time: `sudo .venv/bin/python bench/sizes.py`.

Works on what `make test` left in the cache; prints the table that docs/measurements.md quotes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "qemu-tests"))

import scenario  # noqa: E402

from bootunion import plan  # noqa: E402
from bootunion.host import namespace, reading, reproducible, signing  # noqa: E402
from bootunion.host.store import Store  # noqa: E402


def mib(size: int) -> str:
    return f"{size / (1 << 20):8.1f} MiB"


def single_squashfs(debian: scenario.Debian, work: Path) -> int:
    """Bytes of one squashfs, with the same settings, of the same root."""
    store = Store(debian.store)
    system, _ = reading.read_list(store, signing.read_trust(debian.trust), "demo", 0)
    steps = plan.for_namespace(system, str(work / "union"), upper="", verity=False)
    target = work / "single.squashfs"

    def pack(root: Path) -> None:
        options = [word for word in reproducible.SQUASHFS_OPTIONS if not word.startswith("-root")]
        options = options[:4]  # compressor and block size
        argv = ["mksquashfs", str(root), str(target), *options, "-quiet", "-no-progress"]
        subprocess.run(argv, check=True)

    namespace.in_namespace(
        lambda: namespace.in_union(debian.store, steps, work / "union/root", pack)
    )
    return target.stat().st_size


def main() -> None:
    debian = scenario.make()
    archives = scenario.CACHE / "apt/cache/archives"
    debs = sum(file.stat().st_size for file in archives.glob("*.deb"))
    print(f".debs                          {mib(debs)}")
    images = list((debian.store / "packages").glob("*.squashfs"))
    print(f"{len(images)} packages with hash trees   {mib(sum(f.stat().st_size for f in images))}")
    with tempfile.TemporaryDirectory(dir=scenario.BUILD) as directory:
        work = Path(directory)
        print(f"one squashfs of the same root  {mib(single_squashfs(debian, work))}")
        for flavour, words in scenario.FLAVOURS.items():
            bare = work / "bare.img"
            scenario.bootunion("initramfs", "demo", "--store", debian.store, "--trust",
                               debian.trust, "--output", bare, "--without-agent",
                               "--drivers", scenario.DRIVERS, *words)  # fmt: skip
            sizes = debian.initrd(flavour).stat().st_size, bare.stat().st_size
            print(f"initramfs, {flavour:8}  with {mib(sizes[0])}  without {mib(sizes[1])}")
    for flavour in scenario.FLAVOURS:
        found = json.loads((scenario.BUILD / f"{flavour}.check.json").read_text())
        spent: dict[str, int] = defaultdict(int)
        for step in found["report"]["steps"]:
            spent[step["name"]] += step["end"] - step["start"]
        print(f"agent, {flavour}: {found['agent_ms']} ms; slab {found['slab_kib']} KiB")
        for name, nanoseconds in sorted(spent.items(), key=lambda item: -item[1]):
            print(f"  {name:20} {nanoseconds / 1e6:9.1f} ms")


main()
