"""Image formats and their settings, on 300 real packages: `sudo .venv/bin/python bench/formats.py`.

Without dm-verity, natively. The packages are a sample of bench/packages.py's 500: the first 300 in
the order of their root hashes (so, any 300) whose images take at most 1 MB. Each variant's images
are made of the mounted packages and kept in the cache; then, in several rounds, the variants take
turns:

- size: bytes of the images, padded to 4096, without hash trees;
- mount: ms for all, on loop devices that are attached already, by the agent's own calls, detached;
- memory: KiB of slab and vmalloc for each mount, the loop devices' own not counted;
- sequential: MiB/s of reading all files once, image by image;
- random: µs for one of 20,000 reads of 4 KiB at places that are the same for all variants.

Both kinds of reading find the image files in the page cache and the file systems' own caches empty:
what is measured is the file system, not the disk. The best of the rounds counts. Options: VARIANT…
(all), `--rounds N`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import image_reading
import packages

from bootunion.host import reading, signing
from bootunion.host.store import Store
from bootunion.initrd import loop, mount
from bootunion.systemlist import Layer

sys.path.insert(0, str(packages.TOP / "scripts"))
import erofs_utils

COUNT = 300
LARGEST = 1_000_000
READS = 20_000
PIECE = image_reading.PIECE

_SQUASHFS = "-reproducible -mkfs-time 0 -no-duplicates -noI"
_EROFS = "-b4096 -T0 --mkfs-time -Uclear"
VARIANTS = {
    "squashfs zstd 32K": f"-comp zstd -b 32K {_SQUASHFS}",
    "squashfs zstd 16K": f"-comp zstd -b 16K {_SQUASHFS}",
    "squashfs zstd 128K": f"-comp zstd -b 128K {_SQUASHFS}",
    "squashfs zstd 32K, no fragments": f"-comp zstd -b 32K -no-fragments {_SQUASHFS}",
    "squashfs zstd 16K, no fragments": f"-comp zstd -b 16K -no-fragments {_SQUASHFS}",
    "squashfs zstd 128K, no fragments": f"-comp zstd -b 128K -no-fragments {_SQUASHFS}",
    "squashfs gzip 128K (the tools' defaults)": "-reproducible -mkfs-time 0",
    "squashfs lz4 16K, no fragments": f"-comp lz4 -Xhc -b 16K -no-fragments {_SQUASHFS}",
    "erofs lz4hc 64K (ours)": f"{_EROFS} -zlz4hc,level=9 -C65536 -Eztailpacking",
    "erofs lz4hc 16K": f"{_EROFS} -zlz4hc,level=9 -C16384 -Eztailpacking",
    "erofs lz4hc 64K, fragments, dedupe":
        f"{_EROFS} -zlz4hc,level=9 -C65536 -Eztailpacking,fragments,dedupe",
    "erofs zstd 64K": f"{_EROFS} -zzstd,level=15 -C65536 -Eztailpacking",
    "erofs uncompressed": _EROFS,
}  # fmt: skip


class Result(NamedTuple):
    """One round of one variant; see above."""

    size: int
    mount: float
    memory: float
    sequential: float
    random: float


def sample(made: packages.Made) -> list[Layer]:
    """The layers whose packages are measured."""
    system, _ = reading.read_list(
        Store(made.store), signing.read_trust(made.trust), packages.LIST, 0
    )
    layers = sorted(system.layers, key=lambda layer: layer.image.root_hash)
    return [layer for layer in layers if layer.image.size <= LARGEST][:COUNT]


def make(variant: str, layers: Sequence[Layer], store: Path) -> Path:
    """The directory of a variant's images, `<number>.img` each; made when the cache has none."""
    name = "".join(char if char.isalnum() else "-" for char in variant)
    target = packages.CACHE / f"formats-{len(layers)}" / name
    if (target / "complete").exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    tools = erofs_utils.tools(packages.CACHE)

    def one(item: tuple[int, Layer]) -> None:
        number, layer = item
        image = target / f"{number}.img"
        image.unlink(missing_ok=True)
        with mounted(store / "packages" / layer.file_name) as root:
            words = VARIANTS[variant].split()
            if variant.startswith("squashfs"):
                argv = ["mksquashfs", root, image, *words, "-processors", "1", "-quiet",
                        "-no-progress"]  # fmt: skip
            else:
                argv = [tools / "mkfs.erofs", *words, "--workers=1", "--quiet", image, root]
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, enumerate(layers)))
    (target / "complete").touch()
    return target


@contextlib.contextmanager
def mounted(image: Path) -> Iterator[Path]:
    """A mounted package, for mkfs to read."""
    with (
        tempfile.TemporaryDirectory(prefix="bootunion-") as where,
        image.open("rb") as file,
        contextlib.ExitStack() as stack,
        loop.Control() as loops,
    ):
        held, device = loops.attach(file.fileno(), image.stat().st_size, image.name)
        stack.callback(os.close, held)
        mount.mount(device, where, "squashfs", mount.MS_RDONLY)
        stack.callback(mount.unmount, where)
        yield Path(where)


def pinned() -> int:
    """KiB of slab and vmalloc that are in use now."""
    drop_caches()
    words = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(words[key].split()[0]) for key in ("Slab", "VmallocUsed"))


def drop_caches() -> None:
    """Empty the page cache and the file systems' caches."""
    os.sync()
    for _ in range(2):
        Path("/proc/sys/vm/drop_caches").write_text("3")
        time.sleep(0.05)


def warm(images: Sequence[Path]) -> None:
    """Drop every cache, then read the image files into the page cache."""
    drop_caches()
    image_reading.read_into_cache([str(image) for image in images])


def measure(variant: str, images: Sequence[Path]) -> Result:
    """One round."""
    kind = variant.split(maxsplit=1)[0]
    with contextlib.ExitStack() as stack:
        devices = []
        for image in images:
            with image.open("rb") as file, loop.Control() as loops:
                size = -(-image.stat().st_size // PIECE) * PIECE
                held, path = loops.attach(file.fileno(), size, image.name)
            stack.callback(os.close, held)
            devices.append(path)
        before = pinned()
        warm(images)
        trees = []
        begun = time.perf_counter()
        for device in devices:
            with mount.FileSystemContext(kind) as context:
                context.flag("ro")
                context.string("source", device)
                trees.append(context.mount(mount.MOUNT_ATTR_RDONLY))
        took = time.perf_counter() - begun
        for tree in trees:
            stack.callback(os.close, tree)
        memory = (pinned() - before) / len(images)
        files = [
            one for tree in trees for one in sorted(image_reading.below(f"/proc/self/fd/{tree}"))
        ]
        warm(images)
        read, took_all = image_reading.read_all(files)
        warm(images)
        scattered = image_reading.read_scattered(files, READS)
    return Result(
        sum(-(-image.stat().st_size // PIECE) * PIECE for image in images),
        took * 1000, memory, read / (1 << 20) / (took_all / 1e9), scattered / 1000,
    )  # fmt: skip


def best(rounds: Sequence[Result]) -> Result:
    return Result(
        rounds[0].size, min(one.mount for one in rounds), min(one.memory for one in rounds),
        max(one.sequential for one in rounds), min(one.random for one in rounds),
    )  # fmt: skip


def main() -> int:
    words = argparse.ArgumentParser()
    words.add_argument("variants", nargs="*")
    words.add_argument("--rounds", type=int, default=3)
    given = words.parse_args()
    chosen = given.variants or list(VARIANTS)
    made = packages.make()
    layers = sample(made)
    images: dict[str, list[Path]] = {}
    for variant in chosen:
        begun = time.monotonic()
        where = make(variant, layers, made.store)
        images[variant] = [where / f"{number}.img" for number in range(len(layers))]
        print(f"{variant}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    results: dict[str, list[Result]] = {variant: [] for variant in chosen}
    measure(chosen[0], images[chosen[0]])  # makes the loop devices
    for number in range(given.rounds):
        for variant in chosen:
            results[variant].append(measure(variant, images[variant]))
            print(number, variant, results[variant][-1], file=sys.stderr, flush=True)
    show(results, len(layers), given.rounds)
    return 0


def show(results: dict[str, list[Result]], count: int, rounds: int) -> None:
    """The table, each number with its ratio to the first variant's."""
    load = os.getloadavg()[0]
    print(f"{time.strftime('%Y-%m-%d')}, Linux {os.uname().release}, {count} packages, "
          f"{os.cpu_count()} cores, load {load:.1f}, best of {rounds}")  # fmt: skip
    print("| | size MiB | mount, all, ms | pinned KiB each | sequential MiB/s | random µs |")
    print("|---|---|---|---|---|---|")
    base = best(next(iter(results.values())))
    for variant, several in results.items():
        one = best(several)
        cells = [
            f"{one.size / (1 << 20):.1f} ({one.size / base.size:.2f})",
            f"{one.mount:.0f} ({one.mount / base.mount:.2f})",
            f"{one.memory:.0f} ({one.memory / base.memory:.2f})",
            f"{one.sequential:.0f} ({one.sequential / base.sequential:.2f})",
            f"{one.random:.1f} ({one.random / base.random:.2f})",
        ]
        print(f"| {variant} | {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(main())
