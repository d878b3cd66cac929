"""Import of .debs against a shell loop: `sudo .venv/bin/python bench/import.py DIRECTORY_OF_DEBS`.

The loop is what a person would type instead: unpack, mksquashfs, veritysetup, on all cores, with
the same compressor and block size; it writes no manifest, no contents and no record for dpkg, and
is not reproducible. Both take turns; the best of each counts. Prints the lines that
docs/measurements.md quotes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bootunion.host import signing

ROUNDS = 3
LOOP = r"""
file=$1 name=$(basename "$1" .deb)
dpkg-deb -x "$file" "$name"
mksquashfs "$name" "$name.squashfs" -comp zstd -b 32K -processors 1 -quiet -no-progress > /dev/null
size=$(stat -c %s "$name.squashfs")
veritysetup format --hash-offset "$size" "$name.squashfs" "$name.squashfs" > "$name.verity"
rm -rf "$name"
"""


def shell_loop(files: list[Path], work: Path) -> None:
    script = work / "one.sh"
    script.write_text(f"#!/bin/sh -e\n{LOOP}")
    argv = ["xargs", "-0", "-n", "1", "-P", str(os.cpu_count()), "sh", "-e", str(script)]
    subprocess.run(argv, input="\0".join(map(str, files)), text=True, cwd=work, check=True)


def bootunion(files: list[Path], work: Path) -> None:
    signing.generate(work / "keys")
    command = Path(sys.executable).parent / "bootunion"
    argv = [command, "import", "deb", *files, "--store", work / "store", "--package-key",
            work / "keys/package.key"]  # fmt: skip
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def main() -> None:
    files = sorted(Path(sys.argv[1]).resolve().glob("*.deb"))
    for file in files:
        file.read_bytes()  # into the page cache, for both
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, way in (("bootunion import deb", bootunion), ("shell loop", shell_loop)):
            with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
                start = time.monotonic()
                way(files, Path(directory))
                took = time.monotonic() - start
                size = sum(file.stat().st_size for file in Path(directory).rglob("*.squashfs"))
            best[name] = min(took, best.get(name, took))
            print(f"{name:21} {took:6.1f} s  {size / (1 << 20):6.1f} MiB", flush=True)
    ratio = best["bootunion import deb"] / best["shell loop"]
    total = sum(file.stat().st_size for file in files) / (1 << 20)
    print(
        f"{len(files)} .debs, {total:.1f} MiB, {os.cpu_count()} cores: {ratio:.2f} times the loop"
    )


main()
