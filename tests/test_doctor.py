"""`bootunion doctor` and `mark-good`, through the command line, on a store with a real package."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from importing import member, package

from bootunion import systemlist
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.state import State
from bootunion.systemlist import Layer, SystemList

BOOTUNION = Path(sys.executable).with_name("bootunion")


class Machine(NamedTuple):
    """A store with generations 1 and 2 of a list, and the keys that signed them."""

    store: Path
    keys: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(BOOTUNION), *words], capture_output=True, text=True, check=False)

    def doctor(self, *words: str) -> tuple[int, list[dict[str, str]]]:
        done = self.run("doctor", "--store", str(self.store), "--trust", str(self.keys / "trust"),
                        "--json", *words)  # fmt: skip
        return done.returncode, json.loads(done.stdout)

    def remember(self, memory: State) -> None:
        (self.store / "state").mkdir(exist_ok=True)
        (self.store / "state/demo.json").write_bytes(memory.encode())

    def report(self, number: int, result: str, **more: Any) -> None:
        booted = {"name": "demo", "generation": 2, "floor": 1, "created": 7}
        document = {"number": number, "result": result, "refused": [], "warnings": [],
                    "list": booted, **more}  # fmt: skip
        (self.store / "reports").mkdir(exist_ok=True)
        path = self.store / f"reports/{number:010}.json"
        path.write_text(json.dumps(document))


@pytest.fixture
def machine(store: Store, keys: Path, signer: Signer) -> Machine:
    made = package(store, signer, [member("usr/share/x", b"x" * 50_000)])
    layers = (Layer(made.name, made.version, made.architecture, made.image),)
    for generation in (1, 2):
        system = SystemList("demo", generation, 1, 7, "amd64", "", layers, "volatile", "0" * 64)
        envelope = Signer(keys / "list.key")(system.encode(), systemlist.PAYLOAD_TYPE)
        store.add_list("demo", generation, envelope)
    return Machine(store.path, keys)


def wrong(found: list[dict[str, str]]) -> list[str]:
    return [one["code"] for one in found if one["severity"] == "wrong"]


def test_a_store_that_is_well_has_nothing_wrong(machine: Machine) -> None:
    machine.remember(State(good=2, boots=3))
    machine.report(3, "assembled")
    status, found = machine.doctor("--blocks")
    assert (status, wrong(found)) == (0, [])
    assert any("generation 2 was last marked good" in one["text"] for one in found)


def test_what_each_boot_refused_is_told_with_the_way_out(machine: Machine) -> None:
    refused = {"generation": 2, "why": "current", "code": "file-missing", "message": "is not there",
               "way_out": "Fetch it.", "subject": "x"}  # fmt: skip
    machine.report(4, "refused", refused=[refused], error=refused)
    machine.report(5, "trying")
    (machine.store / "reports/0000000006.json").write_text("no report")
    status, found = machine.doctor()
    assert status == 4
    assert wrong(found) == ["file-missing", "file-missing", "tries-exhausted"]
    assert found[0]["about"] == "boot 4, generation 2 (current)"
    assert found[0]["way_out"] == "Fetch it."
    assert "reports/0000000006.json" in [one["about"] for one in found]


def test_a_generation_that_would_be_passed_over_is_named(machine: Machine) -> None:
    machine.remember(State(floor=2, tries=((2, 3),)))
    status, found = machine.doctor("demo")
    assert status == 4
    assert sorted(wrong(found)) == ["below-floor", "tries-exhausted"]


def test_a_damaged_package_list_and_state_are_found(machine: Machine) -> None:
    image = next((machine.store / "packages").glob("*.squashfs"))
    data = bytearray(image.read_bytes())
    data[200] ^= 1
    image.write_bytes(data)
    assert wrong(machine.doctor()[1]) == []  # sizes and signatures only
    assert wrong(machine.doctor("--blocks")[1]) == ["root-hash-mismatch"] * 2
    image.unlink()
    (machine.store / "lists/demo/1.json").write_text("{}")
    (machine.store / "state").mkdir()
    (machine.store / "state/demo.json").write_text("{}")
    codes = wrong(machine.doctor()[1])
    assert sorted(codes) == ["envelope-invalid", "file-missing", "state-invalid"]


def test_people_get_lines_with_the_way_out(machine: Machine) -> None:
    machine.remember(State(tries=((2, 3),)))
    done = machine.run("doctor", "--store", str(machine.store), "--trust",
                       str(machine.keys / "trust"))  # fmt: skip
    assert done.returncode == 4
    assert "was tried 3 times and never came up well [tries-exhausted]" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 thing(s) wrong"


def test_no_store_and_no_trust_store_are_said(machine: Machine, tmp_path: Path) -> None:
    done = machine.run("doctor", "--store", str(tmp_path / "none"))
    assert done.returncode == 1 and "[file-missing]" in done.stderr
    done = machine.run("doctor", "--store", str(machine.store), "--trust", str(tmp_path), "--json")
    assert done.returncode == 4 and "file-missing" in wrong(json.loads(done.stdout))


def boot_report(path: Path, result: str = "assembled") -> Path:
    facts = {"name": "demo", "generation": 2, "floor": 1, "created": 7}
    path.write_text(json.dumps({"result": result, "number": 9, "list": facts}))
    return path


def test_marking_good_ends_the_count_and_keeps_the_report(machine: Machine, tmp_path: Path) -> None:
    machine.remember(State(tries=((2, 2), (1, 1)), reboots=1, boots=9))
    report = boot_report(tmp_path / "boot.json")
    done = machine.run(
        "mark-good", "--store", str(machine.store), "--report", str(report), "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["good"] == 2
    memory = json.loads((machine.store / "state/demo.json").read_text())
    assert (memory["good"], memory["floor"], memory["tries"], memory["reboots"]) == (
        2,
        1,
        [[1, 1]],
        0,
    )
    kept = json.loads((machine.store / "reports/0000000009.json").read_text())
    assert kept["result"] == "assembled"


def test_nothing_is_marked_good_that_was_not_booted(machine: Machine, tmp_path: Path) -> None:
    for report in (tmp_path / "none", boot_report(tmp_path / "boot.json", "refused")):
        done = machine.run("mark-good", "--store", str(machine.store), "--report", str(report))
        assert done.returncode == 1 and "[not-booted]" in done.stderr
    assert not (machine.store / "state").exists()


def test_only_so_many_reports_are_kept(machine: Machine, tmp_path: Path) -> None:
    for number in range(40):
        machine.report(number, "assembled")
    machine.run("mark-good", "--store", str(machine.store), "--report",
                str(boot_report(tmp_path / "boot.json")))  # fmt: skip
    assert len(list((machine.store / "reports").iterdir())) == 16
