"""The tables and the plot of bench/boot.py's results: `.venv/bin/python bench/boot_table.py`.

Reads build/bench/results.jsonl, prints Markdown, writes docs/bench.json (every run, without what
each allocation grew by) and docs/images/bench.svg.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

TOP = Path(__file__).resolve().parents[1]
RESULTS = TOP / "build/bench/results.jsonl"
NAMES = {
    "agent": "agent", "erofs": "agent, EROFS", "files": "agent, sealed files",
    "index": "agent, index", "index-files": "agent, index over sealed files",
    "floor": "C, the floor", "shell": "shell hook",
    "sysext": "systemd-sysext",
    "single": "one squashfs",
}  # fmt: skip
STEPS = ("attach-loop", "create-verity", "mount-image", "mount-overlay")
Runs = dict[tuple[str, str, int], list[dict[str, Any]]]


def read() -> Runs:
    """The runs by clock, way and size, in the order in which they were made."""
    found: Runs = defaultdict(list)
    for line in RESULTS.read_text().splitlines():
        run = json.loads(line)
        if run["how"] in NAMES:
            found[run["clock"], run["how"], run["size"]].append(run)
    return found


def sizes(runs: Runs, clock: str) -> list[int]:
    """The numbers of packages that were measured by a clock."""
    return sorted({size for one, _, size in runs if one == clock})


def table(runs: Runs, clock: str, cell: Callable[[list[dict[str, Any]]], str]) -> str:
    """A Markdown table: a row for each way, a column for each size."""
    every = sizes(runs, clock)
    lines = ["| | " + " | ".join(map(str, every)) + " |", "|---" * (len(every) + 1) + "|"]
    for how, name in NAMES.items():
        cells = [runs.get((clock, how, size), []) for size in every]
        if any(cells):
            shown = (_shown(one, cell) for one in cells)
            lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _shown(found: list[dict[str, Any]], cell: Callable[[list[dict[str, Any]]], str]) -> str:
    if not found:
        return "-"
    return "fails" if found[-1].get("failed") else cell(found)


def milliseconds(found: list[dict[str, Any]]) -> str:
    """The median, and how far apart the runs are when there are several."""
    values = [run["ms"] for run in found]
    middle = statistics.median(values)
    text = f"{middle:,.1f}" if middle < 100 else f"{middle:,.0f}"
    if len(values) > 1:
        text += f" ({100 * (max(values) - min(values)) / middle:.2f} %, {len(values)} runs)"
    return text


def ratio(runs: Runs, clock: str) -> str:
    """A table of each way's time as a multiple of the floor's."""

    def against(found: list[dict[str, Any]]) -> str:
        floor = runs.get((clock, "floor", found[0]["size"]))
        middle = statistics.median(run["ms"] for run in found)
        return f"{middle / statistics.median(run['ms'] for run in floor):.2f}" if floor else "-"

    return table(runs, clock, against)


def steps(runs: Runs, size: int) -> str:
    """A table of the steps of agent and floor."""
    pair = [runs.get(("icount", how, size)) for how in ("agent", "floor")]
    if not all(pair):
        return ""
    agent, floor = (one[-1]["steps"] for one in pair if one)
    lines = [f"| {size} packages | agent | floor |", "|---|---|---|"]
    for name in dict.fromkeys((*STEPS, *agent, *floor)):
        cells = (f"{one[name]:,.1f}" if name in one else "-" for one in (agent, floor))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def memory(key: str) -> Callable[[list[dict[str, Any]]], str]:
    """A cell with MiB of one kind of memory, of the last run."""
    return lambda found: f"{found[-1]['memory'][key] / 1024:,.1f}"


def plot(runs: Runs, target: Path) -> None:
    """Time by number of packages, both axes logarithmic."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "bootunion"
    from matplotlib import pyplot  # noqa: PLC0415 - after the backend is chosen

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for how, name in NAMES.items():
        points = [(size, statistics.median(run["ms"] for run in found))
                  for (clock, one, size), found in sorted(runs.items())
                  if (clock, one) == ("icount", how) and not found[-1].get("failed")]  # fmt: skip
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="packages", ylabel="ms of the guest's icount clock",
             title="From exec to the finished root")  # fmt: skip
    ticks = sizes(runs, "icount")
    axes.set_xticks(ticks, map(str, ticks))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(target, metadata={"Date": None})


def main() -> None:
    runs = read()
    for clock in sorted({clock for clock, _, _ in runs}):
        print(f"\n{clock}, ms:\n\n{table(runs, clock, milliseconds)}")
        print(f"\n{clock}, multiples of the floor:\n\n{ratio(runs, clock)}")
    for size in sizes(runs, "icount"):
        print(f"\n{steps(runs, size)}")
    for clock in sorted({clock for clock, _, _ in runs if clock.startswith("icount")}):
        for key in ("slab", "vmallocused", "percpu", "pinned", "taken", "process"):
            print(f"\n{clock}, {key}, MiB:\n\n{table(runs, clock, memory(key))}")
    shown = [{**run, "grew": {}} for found in runs.values() for run in found]
    lines = ",\n".join(json.dumps(one) for one in shown)
    (TOP / "docs/bench.json").write_text(f"[\n{lines}\n]\n")
    (TOP / "docs/images").mkdir(exist_ok=True)
    plot(runs, TOP / "docs/images/bench.svg")


if __name__ == "__main__":
    main()
