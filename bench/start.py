"""How long `bootunion run -- true` takes beside `true`, when the same was run before.

`sudo .venv/bin/python bench/start.py` in turns, milliseconds: a project (examples/python-project,
prepared once), with shared and with own processes, Python itself, `true`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
BOOTUNION = str(Path(sys.executable).with_name("bootunion"))
ROUNDS = 40


def took(argv: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    os.chdir(TOP / "examples/python-project")
    project = [BOOTUNION, "run", "--project", "."]
    ways = {
        "true": ["true"],
        "python -c pass": [sys.executable, "-c", "pass"],
        "run --project . -- true": [*project, "--", "true"],
        "run --project . --own-processes -- true": [*project, "--own-processes", "--", "true"],
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for argv in ways.values():
        took(argv)
    for _ in range(ROUNDS):
        for name, argv in ways.items():
            found[name].append(took(argv))
    print("| | best ms | median ms | over `true`, median |\n|---|---|---|---|")
    base = statistics.median(found["true"])
    for name, times in found.items():
        median = statistics.median(times)
        print(f"| {name} | {min(times):.1f} | {median:.1f} | {median - base:.1f} |")


main()
