"""Which cells of the generators' matrix run, and that machines take turns."""

import fcntl
from pathlib import Path

import generator_matrix
import machine
import pytest
from generator_matrix import Cell


def _chosen(*words: str) -> list[str]:
    everything = [Cell(name, str) for name in ("sid good", "sid bad", "trixie good", "trixie bad")]
    results = {"sid good": {"result": "boots"}, "sid bad": {"result": "WRONG: MachineError"},
               "trixie good": {"result": "boots"}}  # fmt: skip
    asked = generator_matrix.arguments([*words])
    return [cell.name for cell in generator_matrix.chosen(everything, asked, results)]


def test_all_cells_run_unless_words_are_said() -> None:
    assert len(_chosen()) == 4
    assert _chosen("sid") == ["sid good", "sid bad"]
    assert _chosen("sid", "bad") == ["sid bad"]


def test_again_runs_what_went_wrong_and_what_has_no_result() -> None:
    assert _chosen("--again") == ["sid bad", "trixie bad"]
    assert _chosen("--again", "sid") == ["sid bad"]


def test_one_machine_runs_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    monkeypatch.setenv("BOOTUNION_QEMU_LOCK", str(lock))
    with machine.turn(), lock.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with lock.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
