"""Two versions of one library, and a program that says which of them it gets."""

from __future__ import annotations

import subprocess
from pathlib import Path

LIBRARIES = "usr/lib/x86_64-linux-gnu"
_LIBRARY = """
const char pin_mark[] = "PIN-VERSION-{version}";
int pin_version(void) {{ return {version}; }}
"""
_PROGRAM = """
#include <stdio.h>
int pin_version(void);
int main(void) { printf("%d\\n", pin_version()); return 0; }
"""


def debs(directory: Path) -> list[Path]:
    """libpin 1.0 and 2.0, and pin-tool 1.0, as .debs in `directory`."""
    libraries = {version: _library(directory / f"libpin{version}", version) for version in "12"}
    tool = directory / "pin-tool"
    (tool / "usr/bin").mkdir(parents=True)
    _compile(_PROGRAM, tool / "usr/bin/pin", str(libraries["1"]))
    return [
        *(_deb(directory / f"libpin{version}", "libpin", version) for version in "12"),
        _deb(tool, "pin-tool", "1"),
    ]


def _library(tree: Path, version: str) -> Path:
    place = tree / LIBRARIES
    place.mkdir(parents=True)
    library = place / "libpin.so.1"
    _compile(_LIBRARY.format(version=version), library, "-shared", "-fPIC",
             "-Wl,-soname,libpin.so.1")  # fmt: skip
    return library


def _compile(source: str, target: Path, *words: str) -> None:
    argv = ["gcc", "-O1", "-x", "c", "-", "-x", "none", *words, "-o", str(target)]
    subprocess.run(argv, input=source, text=True, check=True)


def _deb(tree: Path, name: str, version: str) -> Path:
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: {version}.0\nArchitecture: amd64\n"
        f"Maintainer: nobody <nobody@localhost>\nDescription: version {version}\n"
    )
    target = tree.with_name(f"{name}_{version}.0_amd64.deb")
    argv = ["dpkg-deb", "--root-owner-group", "-b", str(tree), str(target)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return target
