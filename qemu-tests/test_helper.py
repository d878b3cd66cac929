"""The helper's unit on a machine with systemd, with dm-verity: who asks, and who attacks."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import attacks
import machine
import pytest
import scenario

pytestmark = pytest.mark.qemu

LIB = {one: {"/usr/lib/lib.so": f"lib {one}\n"} for one in ("1.0", "2.0")}
TOOL = {"/usr/bin/tool": "a tool\n"}


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the guest found, in one boot."""
    if os.geteuid() != 0:
        pytest.skip("making a root needs root")
    if shutil.which("mmdebstrap") is None:
        assert not os.environ.get("CI"), "scripts/setup.sh installs mmdebstrap"
        pytest.skip("there is no mmdebstrap")
    made = attacks.make(tmp_path_factory.mktemp("attacks"))
    log = scenario.BUILD / "helper.console"
    with machine.boot(
        made.kernel, made.initrd, attacks.CMDLINE, made.disk, log, memory=1024
    ) as running:
        running.wait_for(r"LOOKS-DONE|emergency", 1800)
        said = running.console
        assert running.end(60) == machine.SUCCESS << 1 | 1
    lines = [json.loads(line.partition("LOOK ")[2]) for line in said.splitlines()
             if line.startswith("LOOK ")]  # fmt: skip
    (scenario.BUILD / "helper.json").write_text(json.dumps(lines, indent=1))
    return {one["name"]: one["found"] for one in lines}


def test_the_units_sandbox_is_in_force(looks: dict[str, Any]) -> None:
    found = looks["confinement"]
    assert found["NoNewPrivs"] == "1" and found["Seccomp"] == "2"
    assert found["CapBnd"] == found["CapEff"] == 1 << 21  # CAP_SYS_ADMIN alone
    assert found["own_network"]
    assert "Permission denied" in found["home"] or "No such file" in found["home"]
    assert "Read-only file system" in found["etc"]
    assert "OK" in found["exposure"]


def test_three_people_see_two_versions_and_none_at_once(looks: dict[str, Any]) -> None:
    assert looks["versions"] == {
        "files": [LIB["1.0"] | TOOL, LIB["2.0"] | TOOL, TOOL],
        "devices": 3,  # the tool's is shared
        "roots_mounts_unchanged": True, "left": [],
    }  # fmt: skip
    assert looks["lists"] == [LIB["1.0"] | TOOL, LIB["2.0"] | TOOL, LIB["2.0"]]


def test_setuid_and_devices_count_for_nothing(looks: dict[str, Any]) -> None:
    for found in looks["odd"]:
        assert found["flags"] == [True, True, True] and found["flags-after"]
        for name in ("null", "null-after", "disk", "disk-after"):
            assert found[name] == "Permission denied"
        assert found["cleared"] == ["Operation not permitted"] * 4
        assert found["remounted"] != "done" and found["remounted-bind"] != "done"
        assert found["written"] == "Read-only file system"
        assert "euid" not in found["whoami"] and "egid" not in found["whoami"]


def test_what_the_systems_keys_did_not_sign_is_refused(looks: dict[str, Any]) -> None:
    assert looks["unsigned"] == {
        "stranger": "signature-untrusted", "newer by a stranger": LIB["2.0"],
        "of another's cache": "package-missing", "not there": "package-missing",
        "list by a package's key": "signature-untrusted", "damaged, not yet read": "verity-io",
        "left": [],
    }  # fmt: skip


def test_nothing_in_a_request_names_a_place(looks: dict[str, Any]) -> None:
    assert looks["tricks"] == {"heard": ["helper-request-invalid"], "etc": True, "left": []}


def test_a_file_that_is_renamed_meanwhile_is_the_right_one_or_refused(
    looks: dict[str, Any],
) -> None:
    refusals = {
        "image": {"file-changed", "file-invalid", "file-missing", "verity-io"},
        "manifest": {"signature-untrusted", "manifest-mismatch", "envelope-invalid",
                     "file-invalid", "file-missing"},
        "list": {"signature-untrusted", "list-misplaced", "envelope-invalid", "file-invalid",
                 "file-missing"},
    }  # fmt: skip
    for name, heard in looks["races"]["heard"].items():
        assert set(heard) <= refusals[name] | {"right"}, (name, heard)
        assert "right" in heard and len(heard) > 1, (name, heard)
    assert looks["races"]["left"] == []


def test_nothing_is_left_after_kill_9(looks: dict[str, Any]) -> None:
    found = looks["kills"]
    assert found["killed"] > 3  # how many are hit is up to the clock
    assert found["left"] == [] and found["again"] == "granted" and found["another"]


def test_many_requests_leave_nothing(looks: dict[str, Any]) -> None:
    found = looks["flood"]
    assert set(found["heard"]) <= {"granted", "helper-busy", "helper-request-invalid"}
    assert found["heard"]["granted"] > 10
    assert found["left"] == [] and found["same_server"] and found["descriptors"] < 10


def test_one_user_keeps_so_many_unions_of_the_same_devices(looks: dict[str, Any]) -> None:
    assert looks["kept"] == {
        "kept": 64, "refused": "helper-unions-kept", "single": "granted",
        "another": LIB["2.0"] | TOOL, "devices": 2, "same_server": True, "left": [],
        "again": "granted",
    }  # fmt: skip


def test_the_helper_ends_when_nobody_asks_and_comes_back(looks: dict[str, Any]) -> None:
    assert looks["idle"] == {"ended": True, "result": "success", "again": "granted", "left": []}


def test_the_guests_script_is_whole(looks: dict[str, Any]) -> None:
    assert not [name for name, found in looks.items() if "broken" in found]
    assert Path(scenario.BUILD / "helper.console").stat().st_size > 0
