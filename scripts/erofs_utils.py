#!/usr/bin/python3
"""Unpacks a newer Debian's erofs-utils for a Debian 12, whose own cannot read a tar.

    scripts/erofs_utils.py [SUITE] [DIRECTORY]      (trixie; in $BOOTUNION_CACHE or build/cache)

Prints the directory with mkfs.erofs, to be put into PATH. Nothing is installed: apt works with a
state of its own, the .debs are unpacked and run with the libraries that they came with.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

MIRROR = "http://deb.debian.org/debian"
PROGRAMS = ("mkfs.erofs", "fsck.erofs", "dump.erofs")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def tools(cache: Path, suite: str = "trixie") -> Path:
    """The directory of a mkfs.erofs that can read a tar: the host's, or `suite`'s of the cache."""
    found = shutil.which("mkfs.erofs")
    if suite == "trixie" and found is not None:
        said = subprocess.run([found, "--help"], capture_output=True, check=False).stdout
        if b"--tar=" in said:
            return Path(found).parent
    return provide(suite, cache)


def provide(suite: str, cache: Path) -> Path:
    """The directory of the programs; made when the cache has none. Raises CalledProcessError."""
    place = cache.resolve() / f"erofs-utils-{suite}"
    if not (place / "bin").exists():
        aside = place.with_name(f"{place.name}.{os.getpid()}")
        try:
            _unpack(suite, aside)
            _wrap(aside, place)
            if not place.exists():
                aside.rename(place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return place / "bin"


def _unpack(suite: str, aside: Path) -> None:
    state = aside / "apt"
    for part in ("lists/partial", "archives/partial", "parts"):
        (state / part).mkdir(parents=True)
    (state / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {MIRROR} {suite} main\n")
    (state / "status").touch()
    settings = {
        "Dir::State": state, "Dir::State::Lists": state / "lists", "Dir::Cache": state,
        "Dir::Cache::Archives": state / "archives", "Dir::State::Status": state / "status",
        "Dir::Etc::SourceList": state / "sources.list", "Dir::Etc::SourceParts": state / "parts",
        "Dir::Etc::PreferencesParts": state / "parts", "Dir::Etc::Preferences": "/dev/null",
        "APT::Sandbox::User": "root", "APT::Get::List-Cleanup": "false",
    }  # fmt: skip
    apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in settings.items())]
    subprocess.run([*apt, "update"], check=True, stdout=sys.stderr)
    install = ["--download-only", "--no-install-recommends", "--yes", "install", "erofs-utils"]
    subprocess.run([*apt, *install], check=True, stdout=sys.stderr)
    for deb in sorted((state / "archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", deb, aside / "root"], check=True)
    shutil.rmtree(state)


def _wrap(aside: Path, place: Path) -> None:
    root = aside / "root"
    loader = next(root.glob("usr/lib/*/ld-linux-*.so.*"), None) or next(
        root.glob("usr/lib*/ld-linux-*.so.*")
    )
    libraries = next(root.glob("usr/lib/*/libc.so.6")).parent
    (aside / "bin").mkdir()
    for program in PROGRAMS:
        found = next(root.glob(f"usr/*bin/{program}"))
        loader_path, library_path, program_path = (
            place / path.relative_to(aside) for path in (loader, libraries, found)
        )
        wrapper = aside / "bin" / program
        wrapper.write_text(
            f'#!/bin/sh\nexec {loader_path} --library-path {library_path} {program_path} "$@"\n'
        )
        wrapper.chmod(0o755)


if __name__ == "__main__":
    default = Path(os.environ.get("BOOTUNION_CACHE", "build/cache"))
    wanted = sys.argv[1] if len(sys.argv) > 1 else "trixie"
    print(provide(wanted, Path(sys.argv[2]) if len(sys.argv) > 2 else default))
