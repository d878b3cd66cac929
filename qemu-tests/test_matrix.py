"""The matrix of damages, most of it against the agent on a fake root in one virtual machine."""

import json
import os
import shutil
import sys
from datetime import date
from pathlib import Path
from typing import Any

import cellkinds
import cells
import machine
import pytest
import roots
import scenario
import tiny
from cellkinds import Cell

from bootunion import package

sys.path.insert(0, str(scenario.TOP / "scripts"))
import erofs_utils

pytestmark = pytest.mark.qemu


@pytest.fixture(scope="module")
def good() -> tiny.Tiny:
    return tiny.make()


def run_cells(
    good: tiny.Tiny, work: Path, wanted: list[Cell], files: cellkinds.Files, name: str = "matrix",
    *, sealed: bool = False, qemu: machine.Qemu = machine.QEMU,
) -> list[Any]:  # fmt: skip
    """What the guest found for each cell; `sealed`: the packages are sealed with fs-verity."""
    root = work / "root"
    place = root / "cells"
    place.mkdir(parents=True)
    files.directory.rename(place / "files")
    guest = Path(__file__).parent / "guest"
    shutil.copy(guest / "run_cells.py", place / "run.py")
    for module in ("edits.py", "medium.py"):
        shutil.copy(guest / module, place)
    document = {"cells": [cell._asdict() for cell in wanted], "good": cells.good_files(good),
                "sealed": sealed}  # fmt: skip
    (place / "cells.json").write_text(json.dumps(document))
    extra = tiny.archive(root, work / "extra.img")
    initrd = tiny.appended(good.initrd, extra, work / "initrd.img")
    disk = machine.store_disk(good.store, work / "disk.img", sealable=sealed)
    log = scenario.BUILD / f"{name}.console"
    with machine.boot(good.kernel, initrd, "tiny.cells quiet", disk, log, memory=1536,
                      processors=1 if sealed else 2, qemu=qemu) as running:  # fmt: skip
        running.wait_for(r"CELLS-DONE|CELLS-BROKEN.*", 1800)
        said = running.console
    assert "CELLS-DONE" in said, said[-800:]
    lines = [line.partition("CELL ")[2] for line in said.splitlines() if line.startswith("CELL ")]
    return [json.loads(line) for line in lines]


def shortfalls(cell: Cell, found: dict[str, Any]) -> dict[str, Any]:
    """What is not as the cell says it must be."""
    report = found["report"]
    if isinstance(report, str):
        return {"report": report, "said": found["said"]}
    seen = {
        "codes": [(one["generation"], one["code"]) for one in report["refused"]],
        "booted": found["booted"],
        "files": found["files"] if cell.booted else "right",
        "status": found["status"],
        "stopped": report.get("error", {}).get("code", "") in cell.stopped.split("|"),
        "store_at_sysroot": found["store_at_sysroot"],
        "left_over": found["left_over"],
        "left_out": len(report["left_out"]),
        "counted": found["booted"] in tried(found["state"]),
        "warned": set(cell.warnings) <= {one["code"] for one in report["warnings"]},
        # What the console says is what the report says.
        "console": all(f"REFUSED [{code}]" in found["said"] for _, code in cell.codes),
    }
    wanted = {
        "codes": list(cell.codes), "booted": cell.booted, "files": cell.files,
        "status": 0 if cell.booted else 1, "stopped": True, "store_at_sysroot": False,
        "left_over": [], "left_out": cell.left_out, "warned": True, "console": True,
        "counted": bool(cell.booted) and "state-unwritable" not in cell.warnings,
    }  # fmt: skip
    return {key: (seen[key], wanted[key]) for key in wanted if seen[key] != wanted[key]}


def tried(state: str) -> list[int]:
    """The generations whose tries a state file counts."""
    return [generation for generation, _ in json.loads(state)["tries"]] if state else []


def write_table(
    matrix: list[Cell], results: list[Any], wrong: dict[str, Any], name: str = "matrix"
) -> None:
    """The table that docs/security.md quotes."""
    lines = [
        f"{len(matrix)} cells on {date.today().isoformat()}, {len(wrong)} not as they must be.",
        "", "| damage | refused | booted | files |", "|---|---|---|---|",
    ]  # fmt: skip
    for cell, found in zip(matrix, results, strict=True):
        report = found["report"]
        codes = [f"{one['generation']}: {one['code']}" for one in report["refused"]]
        codes += [f"warning: {one['code']}" for one in report["warnings"]]
        booted = f"generation {found['booted']}" if found["booted"] else "nothing"
        mark = " **WRONG**" if cell.name in wrong else ""
        lines.append(f"| {cell.name}{mark} | {', '.join(codes)} | {booted} | {found['files']} |")
    (scenario.BUILD / f"{name}.md").write_text("\n".join(lines) + "\n")


def test_no_damage_of_an_erofs_package_boots_a_wrong_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{erofs_utils.tools(scenario.CACHE)}:{os.environ['PATH']}")
    good = tiny.make(package.EROFS)
    layers = tiny.read_list(good, 2).layers
    assert {layer.image.format for layer in layers} == {package.EROFS}
    matrix = cells.image_cells(good)
    results = run_cells(good, tmp_path, matrix, cellkinds.Files(tmp_path / "files"), "erofs")
    wrong = {
        cell.name: short
        for cell, found in zip(matrix, results, strict=True)
        if (short := shortfalls(cell, found))
    }
    write_table(matrix, results, wrong, "matrix-erofs")
    assert wrong == {}


def test_no_damage_of_an_index_or_below_it_boots_a_wrong_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{erofs_utils.tools(scenario.CACHE)}:{os.environ['PATH']}")
    good = tiny.make(package.EROFS_UNCOMPRESSED)
    matrix = cells.index_cells(good)
    results = run_cells(good, tmp_path, matrix, cellkinds.Files(tmp_path / "files"), "index")
    assert {found["report"]["union"] for found in results if found["booted"]} == {"index"}
    wrong = {
        cell.name: short
        for cell, found in zip(matrix, results, strict=True)
        if (short := shortfalls(cell, found))
    }
    write_table(matrix, results, wrong, "matrix-index")
    assert wrong == {}


def test_no_damage_boots_a_wrong_byte(good: tiny.Tiny, tmp_path: Path) -> None:
    files = cellkinds.Files(tmp_path / "files")
    matrix = cells.all_cells(good, files)
    assert len({cell.name for cell in matrix}) == len(matrix)
    results = run_cells(good, tmp_path, matrix, files)
    assert [one["name"] for one in results] == [cell.name for cell in matrix]
    wrong = {
        cell.name: short
        for cell, found in zip(matrix, results, strict=True)
        if (short := shortfalls(cell, found))
    }
    write_table(matrix, results, wrong)
    assert wrong == {}


def test_no_damage_of_a_sealed_package_boots_a_wrong_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{erofs_utils.tools(scenario.CACHE)}:{os.environ['PATH']}")
    good = tiny.make(package.EROFS, roots.kernel("trixie"))
    matrix = cells.sealed_cells(good)
    results = run_cells(good, tmp_path, matrix, cellkinds.Files(tmp_path / "files"), "sealed",
                        sealed=True, qemu=roots.newer_qemu())  # fmt: skip
    # Three packages are sealed whatever is damaged; where nothing is, all four are.
    assert results[0]["report"]["by_file"] == 4
    wrong = {
        cell.name: short
        for cell, found in zip(matrix, results, strict=True)
        if (short := shortfalls(cell, found))
    }
    write_table(matrix, results, wrong, "matrix-sealed")
    assert wrong == {}
