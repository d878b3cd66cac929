"""A Python project beside venv + pip and uv: `sudo .venv/bin/python bench/project.py [UV]`.

Cold: nothing is there but the wheels, in a directory, for all three (no network is measured).
Warm: again in the same project. Shared: the same project in another directory, everything cached.
Times go from nothing to the end of the project's tests, and to the end of `python -c pass`. All in
turns, the best of ROUNDS counts. Prints the lines that docs/measurements.md quotes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
EXAMPLE = TOP / "examples/python-project"
BOOTUNION = Path(sys.executable).parent / "bootunion"
PYTHON = "/usr/bin/python3"
ROUNDS = int(os.environ.get("ROUNDS", "3"))
STARTS = 30
TESTS = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")
NOTHING = ("python", "-c", "pass")
Start = Callable[[Path, tuple[str, ...]], list[str | Path]]


class Bench:
    """One empty home with the wheels beside it."""

    def __init__(self, top: Path, links: Path, uv: Path) -> None:
        self.top, self.links, self.uv = top, links, uv
        self.home = top / "home"
        self.home.mkdir(parents=True)
        self.environment = {
            "HOME": str(self.home), "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links), "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1", "LANG": "C.UTF-8",
        }  # fmt: skip

    def run(self, argv: list[str | Path], where: Path) -> None:
        done = subprocess.run(
            argv, cwd=where, env=self.environment, capture_output=True, check=False
        )
        if done.returncode:
            sys.exit(f"{argv}: {done.stdout.decode()[-2000:]}{done.stderr.decode()[-2000:]}")

    def project(self, name: str) -> Path:
        where = self.top / name
        shutil.copytree(EXAMPLE, where, ignore=shutil.ignore_patterns("__pycache__"))
        return where

    def pip(self, where: Path) -> None:
        if not (where / "venv").exists():
            self.run([PYTHON, "-m", "venv", "venv"], where)
            install = ["venv/bin/pip", "install", "-q", "--require-hashes"]
            self.run([*install, "-r", "requirements.txt"], where)

    def by_uv(self, where: Path) -> None:
        if not (where / "venv").exists():
            self.run([self.uv, "venv", "-q", "--python", PYTHON, "venv"], where)
            self.run([self.uv, "pip", "install", "-q", "--python", "venv/bin/python", "--no-index",
                      "--find-links", self.links, "--require-hashes", "-r", "requirements.txt"],
                     where)  # fmt: skip

    def bootunion(self, where: Path) -> None:
        """Nothing to do before: `run` does it."""

    def start(self, way: str, where: Path, command: tuple[str, ...]) -> list[str | Path]:
        if way == "bootunion":
            return [BOOTUNION, "run", "--project", where, "--", *command]
        return [f"venv/bin/{command[0]}", *command[1:]]

    def time(self, way: str, where: Path, command: tuple[str, ...]) -> float:
        begin = time.monotonic()
        {"venv + pip": self.pip, "uv": self.by_uv, "bootunion": self.bootunion}[way](where)
        self.run(self.start(way, where, command), where)
        return time.monotonic() - begin

    def used(self, *places: Path) -> float:
        """MiB on the disk; what has several names counts once."""
        argv = ["du", "-s", "--block-size=1024", "-c", *[one for one in places if one.exists()]]
        out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return int(out.splitlines()[-1].split()[0]) / 1024


def one_round(way: str, links: Path, uv: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        bench = Bench(Path(name) / "x", links, uv)
        first, second, third = (bench.project(one) for one in ("first", "second", "third"))
        empty = bench.used(first, second, third)
        found = {"cold": bench.time(way, first, TESTS), "warm": bench.time(way, first, TESTS)}
        one = bench.used(bench.top) - empty
        found["shared: ready"] = bench.time(way, second, NOTHING)
        found["shared: tests"] = bench.time(way, third, TESTS)
        found["MiB, one project"] = one
        found["MiB, three projects"] = bench.used(bench.top) - empty
        return found


def starts(links: Path, uv: Path) -> None:
    """`bootunion run -- true` beside `true`, in turns: the median of each."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        bench = Bench(Path(name) / "x", links, uv)
        where = bench.project("first")
        bench.time("bootunion", where, ("true",))
        times: dict[str, list[float]] = {"true": [], "bootunion run --project . -- true": []}
        for _ in range(STARTS):
            for what, argv in (("true", ["true"]), ("bootunion run --project . -- true",
                               bench.start("bootunion", where, ("true",)))):  # fmt: skip
                begin = time.monotonic()
                bench.run(argv, where)
                times[what].append(time.monotonic() - begin)
        for what, several in times.items():
            several.sort()
            print(f"{what:36} median {several[STARTS // 2] * 1000:6.1f} ms, "
                  f"best {several[0] * 1000:6.1f} ms")  # fmt: skip


def main() -> None:
    links = Path(tempfile.gettempdir()) / "bootunion-bench-wheels"
    links.mkdir(exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--python", PYTHON]
    subprocess.run([*pip, "download", "-q", "--no-deps", "--require-hashes", "-d", links, "-r",
                    EXAMPLE / "requirements.txt"], check=True)  # fmt: skip
    uv = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(shutil.which("uv") or "uv")
    ways = ["bootunion", *(["uv"] if uv.exists() else []), "venv + pip"]
    best: dict[str, dict[str, float]] = {way: {} for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            for what, value in one_round(way, links, uv).items():
                best[way][what] = min(value, best[way].get(what, value))
            print(way, {key: round(value, 2) for key, value in best[way].items()}, flush=True)
    print(f"\n{'':22}" + "".join(f"{way:>14}" for way in ways))
    for what in best["bootunion"]:
        cells = "".join(f"{best[way][what]:14.2f}" for way in ways)
        ratios = ", ".join(f"{best['bootunion'][what] / best[way][what]:.2f} of {way}"
                           for way in ways if way != "bootunion")  # fmt: skip
        print(f"{what:22}{cells}   ({ratios})")
    if "uv" not in ways:
        print("uv is not here: name its program as the argument")
    starts(links, uv)


main()
