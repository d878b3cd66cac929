"""What the agent adds to an initramfs: by part, and net of what the generator has there anyway.

usage: bench/closure.py [IMAGE WITHOUT THE AGENT, UNPACKED]

Needs zstd and cpio. Each part is an archive of its own, compressed with `zstd -19`, so the parts
add up to more than the whole. Prints a Markdown table.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bootunion.host import closure

PARTS = {
    "interpreter": ("usr/bin/",),
    "libcrypto": ("libcrypto",),
    "C library, loader, libm, libgcc": ("libc.so", "ld-linux", "libm.so", "libgcc"),
    "other libraries": ("/libz", "/liblzma", "/libbz2", "/libexpat", "/libffi", "/libudev"),
    "standard library, shared objects": ("lib-dynload",),
    "standard library, byte code": ("usr/lib/python3",),
    "pyudev": ("agent/pyudev",),
    "bootunion": ("",),
}


def compressed(root: Path, names: list[str]) -> int:
    """Bytes of a cpio archive of these files after zstd -19."""
    listed = "\0".join(names).encode()
    argv = ["cpio", "--quiet", "-0", "-o", "-H", "newc"]
    archive = subprocess.run(argv, cwd=root, check=True, input=listed, capture_output=True).stdout
    argv = ["zstd", "-q", "-19"]
    return len(subprocess.run(argv, input=archive, check=True, capture_output=True).stdout)


def main(arguments: list[str]) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        closure.install(closure.compute(Path("/usr/bin/python3")), root)
        names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
        print("| part | files | MB raw | MB zstd -19 |\n|---|---|---|---|")
        left = list(names)
        for part, words in PARTS.items():
            here = [name for name in left if any(word in name for word in words)]
            left = [name for name in left if name not in here]
            row(part, root, here)
        row("**all**", root, names)
        if arguments:
            base = Path(arguments[0])
            present = {path.name for path in base.rglob("*") if path.is_file() or path.is_symlink()}
            new = [name for name in names if Path(name).name not in present or "agent/" in name]
            row("**all, net of the image's own files**", root, new)


def row(part: str, root: Path, names: list[str]) -> None:
    """One line of the table."""
    raw = sum((root / name).stat().st_size for name in names)
    print(f"| {part} | {len(names)} | {raw / 1e6:.2f} | {compressed(root, names) / 1e6:.2f} |")


if __name__ == "__main__":
    if not shutil.which("zstd"):
        sys.exit("zstd is needed")
    main(sys.argv[1:])
