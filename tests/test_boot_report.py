"""The timeline of a boot: what is read of a report, and what the command line shows of it."""

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pagevalues
import pytest
from test_commands import BIN, bootunion

from bootunion.errors import BootunionError
from bootunion.host import bootreport
from bootunion.host.bootreport import Timeline


def parsed(report: dict[str, Any]) -> Timeline:
    return bootreport.parse(json.dumps(report).encode(), subject="boot.json")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "boot.json"
    path.write_text(json.dumps(pagevalues.report()))
    return path


def test_steps_count_from_the_agents_start_and_know_their_attempt() -> None:
    report = pagevalues.report()
    found = parsed(report)
    assert len(found.steps) == len(report["steps"])
    for step, raw in zip(found.steps, report["steps"], strict=True):
        assert step.start_us == (raw["start"] - report["started"]) // 1000
        assert step.took_us == (raw["end"] - raw["start"]) // 1000
    assert found.took_us == (report["finished"] - report["started"]) // 1000
    assert [step.attempt for step in found.steps] == [1] * 9 + [2] * 13


def test_names_are_those_of_the_list_that_was_tried_last() -> None:
    steps = [step for step in parsed(pagevalues.report()).steps if step.layer is not None]
    assert {step.package for step in steps if step.attempt == 1} == {""}
    assert [step.package for step in steps if step.attempt == 2][::3] == [
        "demo-generated", "bash", "libc6"]  # fmt: skip


def test_a_report_of_before_has_no_names() -> None:
    report = pagevalues.report()
    del report["layers"]
    assert {step.package for step in parsed(report | {"schema": 2}).steps} == {""}


def test_totals_are_the_sums_of_the_steps() -> None:
    found = parsed(pagevalues.report())
    told = found.as_json()
    assert sum(one["count"] for one in told["totals"]) == len(found.steps)
    assert told["between_us"] + sum(one["took_us"] for one in told["totals"]) == found.took_us
    (mounts,) = (one for one in told["totals"] if one["name"] == "mount-image")
    each = [step.took_us for step in found.steps if step.name == "mount-image"]
    assert (mounts["count"], mounts["took_us"], mounts["longest_us"]) == (5, sum(each), max(each))


@pytest.mark.parametrize(
    "change",
    [
        {"started": "x"}, {"started": -1}, {"finished": 0}, {"steps": None}, {"steps": [1]},
        {"steps": [{"name": "a"}]}, {"layers": 3}, {"layers": ["x"] * 10_002}, {"result": 7},
        {"steps": [{"name": "a", "layer": -1, "start": 1 << 61, "end": 1 << 61}]},
        {"steps": [{"name": "a", "layer": None, "start": 0, "end": 1}]},
        {"steps": [{"name": "a", "layer": None, "start": 1 << 61, "end": 1 << 60}]},
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BootunionError) as refused:
        parsed(pagevalues.report() | change)
    assert refused.value.code == "json-invalid"


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"[" * 100_000, b'{"started": 1}'])
def test_bytes_that_are_no_report_are_refused(data: bytes) -> None:
    with pytest.raises(BootunionError, match=r"boot\.json"):
        bootreport.parse(data, subject="boot.json")


def test_plain_lines_have_each_step(written: Path) -> None:
    said = bootunion("boot-report", "--report", written).stdout.splitlines()
    assert said[0].split("\t") == ["start", "took", "step", "package"]
    rows = [line.split("\t") for line in said[1:23]]
    assert rows[0] == ["0.090", "11.910", "read-list", ""]
    assert [row[2:] for row in rows if row[3] == "bash"] == [
        ["attach-loop", "bash"], ["create-verity", "bash"], ["mount-image", "bash"]]  # fmt: skip
    assert "[file-changed]" in said[23]
    assert "vim_9_amd64" in said[25]
    assert said[26].startswith(
        "boot 12: list demo generation 6 assembled; the agent began 20,796 ms"
    )
    assert len(said) == 27


def test_why_nothing_was_booted_is_said(written: Path) -> None:
    report = pagevalues.report() | {"result": "refused", "action": "halt"}
    report["error"] = {"code": "no-generation-left", "message": "none can be booted",
                       "subject": "list demo", "way_out": "Add one."}  # fmt: skip
    written.write_text(json.dumps(report))
    said = bootunion("boot-report", "--report", written).stdout
    assert "stopped   list demo: none can be booted [no-generation-left]" in said
    assert "generation 6 refused" in said


def test_a_terminal_gets_bars_that_fit(written: Path) -> None:
    lines = on_a_terminal("boot-report", "--report", written)
    assert all(len(line) <= 80 for line in lines)
    (bar,) = (line for line in lines if "mount-overlay" in line)
    assert "█" in bar
    # The bars go from left to right, as time does.
    begins = [line.index("█") for line in lines if "█" in line]
    assert begins == sorted(begins)
    assert begins[0] < begins[-1]


def on_a_terminal(*words: object) -> list[str]:
    """What the command shows on a terminal of 80 columns, without colours."""
    main, side = pty.openpty()
    environment = os.environ | {"COLUMNS": "80", "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen([BIN, *map(str, words)], stdout=side, stderr=side, stdin=side,
                          env=environment) as running:  # fmt: skip
        os.close(side)
        said = b""
        while True:
            try:
                data = os.read(main, 65536)
            except OSError:  # EIO: the last writer is gone
                break
            if not data:
                break
            said += data
        os.close(main)
    assert running.returncode == 0, said
    return (
        said.decode()
        .replace("\x1b[3m", "")
        .replace("\x1b[1m", "")
        .replace("\x1b[0m", "")
        .splitlines()
    )


def test_without_a_boot_there_is_no_report(tmp_path: Path) -> None:
    said = bootunion("boot-report", "--report", tmp_path / "none", status=1).stderr
    assert "[not-booted]" in said


def test_reports_that_a_store_keeps(tmp_path: Path) -> None:
    store = tmp_path / "store"
    (store / "reports").mkdir(parents=True)
    for number in (3, 12):
        report = pagevalues.report() | {"number": number}
        (store / f"reports/{number:010}.json").write_text(json.dumps(report))
    (store / "reports/0000000004.json").write_text("damaged")
    said = bootunion("boot-report", "--list", "--store", store).stdout.splitlines()
    assert [line.split("\t")[:4] for line in said[1:]] == [
        ["3", "demo", "6", "assembled"], ["12", "demo", "6", "assembled"]]  # fmt: skip
    told = json.loads(bootunion("boot-report", "--boot", 3, "--store", store, "--json").stdout)
    assert told["number"] == 3
    for number, code in ((4, "json-invalid"), (5, "file-missing")):
        words = ("boot-report", "--boot", number, "--store", store)
        status = 4 if code == "json-invalid" else 1
        assert f"[{code}]" in bootunion(*words, status=status).stderr


def test_a_kept_report_cannot_steer_the_terminal(tmp_path: Path, written: Path) -> None:
    report = pagevalues.report()
    odd = "\x1b]0;title\x07\x1b[2J"
    report["layers"] = [odd] * 3
    report["left_out"] = [odd]
    report["list"]["name"] = odd
    report["refused"][0]["message"] = odd
    written.write_text(json.dumps(report))
    for words in ((), ("--all",)):
        assert "\x1b" not in bootunion("boot-report", "--report", written, *words).stdout
        shown = "".join(on_a_terminal("boot-report", "--report", written, *words))
        assert "\x1b]" not in shown
        assert "\x07" not in shown


def test_the_page_of_a_boot_is_written(tmp_path: Path, written: Path) -> None:
    page = tmp_path / "boot.html"
    assert bootunion("boot-report", "--report", written, "--html", page).stdout == f"page {page}\n"
    text = page.read_text(encoding="utf-8")
    assert "The root was assembled." in text
    assert text.count("<rect") > len(pagevalues.report()["steps"])
