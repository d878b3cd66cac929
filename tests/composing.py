"""What the tests of composing share: a small system, the command line, a .deb made by hand."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from bootunion.host.store import Store

TOP = Path(__file__).resolve().parents[1]
BOOTUNION = Path(sys.executable).with_name("bootunion")
CACHE = Path(os.environ.get("BOOTUNION_CACHE", "build/cache")).resolve()

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="composing mounts file systems")


class Shop(NamedTuple):
    """A directory with a store that has the small system's packages, keys, and a system.yaml."""

    top: Path
    keys: Path

    @property
    def store(self) -> Path:
        return self.top / "store"

    def write(self, text: str = "") -> Path:
        """A system.yaml: the small system and `text`."""
        path = self.top / "system.yaml"
        # `packages` may be given by the text.
        packages = "" if "packages:" in text else "packages: [systemd]\n"
        suites = "" if "suites:" in text else "suites: [bookworm]\n"
        path.write_text(f"name: small\n{suites}{packages}{text}")
        return path

    def argv(self, text: str = "", cache: Path = CACHE) -> list[str]:
        words = ["compose", self.write(text), "--keys", self.keys, "--cache", cache,
                 "--store", self.store]  # fmt: skip
        return [str(BOOTUNION), *map(str, words)]

    def compose(self, text: str = "", cache: Path = CACHE, **env: str) -> "Said":
        return run(self.argv(text, cache), **env)

    def plan(self) -> "Said":
        words = ["plan", "small", "--store", self.store, "--trust", self.keys / "trust"]
        return run([str(BOOTUNION), *map(str, words)])

    def lists(self) -> set[str]:
        return {path.name for path in (self.store / "lists").rglob("*") if path.is_file()}

    def whole(self) -> bool:
        """Whether each package is complete and nothing else is there."""
        stems: dict[str, set[str]] = {}
        for path in (self.store / "packages").iterdir():
            stems.setdefault(path.stem, set()).add(path.suffix)
        return all(kinds == {".squashfs", ".json", ".contents"} for kinds in stems.values())

    def generated(self, path: str) -> str:
        """The text of a file in the newest generated layer."""
        images = (self.store / "packages").glob("small-generated_*.squashfs")
        image = max(images, key=lambda one: one.stat().st_ctime_ns)
        done = subprocess.run(["unsquashfs", "-cat", image, path.lstrip("/")],
                              capture_output=True, text=True, check=True)  # fmt: skip
        return done.stdout


class Said(NamedTuple):
    status: int
    out: str
    err: str

    def refused(self, code: str, status: int) -> str:
        """The one sentence of a refusal; there must be no other words than progress."""
        assert self.status == status, self.err
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if line.startswith("bootunion: ")]
        assert len(lines) == 1 and lines[0].endswith(f"[{code}]"), self.err
        return lines[0]


def run(argv: list[str], **env: str) -> Said:
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **env},
                          stdin=subprocess.DEVNULL, check=False)  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr)


def copy_store(source: Path, target: Path) -> Store:
    """A store with the same packages (hard links: files are never changed in place), no lists."""
    target.mkdir()
    shutil.copytree(source / "packages", target / "packages", copy_function=os.link)
    return Store(target).create()


def deb(directory: Path, name: str, files: dict[str, str] | None = None, **scripts: str) -> Path:
    """A .deb with these files and maintainer scripts."""
    tree = directory / f"{name}.tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\n"
        "Maintainer: nobody <nobody@localhost>\nDescription: made by a test\n"
    )
    for path, text in (files or {}).items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    for script, text in scripts.items():
        (tree / "DEBIAN" / script).write_text(f"#!/bin/sh\nset -e\n{text}\n")
        (tree / "DEBIAN" / script).chmod(0o755)
    target = directory / f"{name}_1_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, target],
                   check=True, capture_output=True)  # fmt: skip
    return target


def loops() -> set[str]:
    """The files behind this machine's loop devices."""
    found = set()
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found.add(path.read_text().strip())
        except OSError:
            continue  # it went away meanwhile
    return found
