"""Issue 6, point 1: shells, users and services that see different packages, on one machine."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import machine
import pins
import pytest
import scenario
from scenario import Debian

from bootunion import systemlist
from bootunion.host import importer, reading, signing
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.systemlist import Layer

sys.path.insert(0, str(scenario.TOP / "tests"))
import wheelmaking

pytestmark = pytest.mark.qemu
PASSWORD = "bootunion"  # guest/own_roots.py gives it to each user


def disk(debian: Debian, work: Path) -> Path:
    """The demo's store with both versions of the library beside its list, and list `tools`."""
    copy = work / "store"
    shutil.copytree(debian.store, copy, copy_function=shutil.os.link)
    store, keys = Store(copy), debian.directory / "keys"
    made = importer.import_each(
        pins.debs(work), store, Signer(keys / "package.key"), lambda _: None, jobs=2
    )
    trusted = signing.read_trust(debian.trust, copy)
    demo, _ = reading.read_list(store, trusted, "demo", 0)
    over = []
    for one in made.values():
        assert not isinstance(one, Exception), one
        if (one.name, one.version) != ("libpin", "1.0"):
            over.append(Layer(one.name, one.version, one.architecture, one.image))
    tools = demo._replace(name="tools", generation=1, layers=(*over, *demo.layers),
                          index_layer=None)  # fmt: skip
    envelope = Signer(keys / "list.key")(tools.encode(), systemlist.PAYLOAD_TYPE)
    store.add_list("tools", 1, envelope)
    extra = work / "tests"
    extra.mkdir()
    for name in ("own_roots.py", "reach.py"):
        shutil.copy(scenario.TOP / "qemu-tests/guest" / name, extra)
    # For a project: its wheel, and the key of an administrator who gives everybody its packages.
    wheelmaking.wheel(extra)
    shutil.copy(keys / "package.key", extra)
    return machine.store_disk(copy, work / "disk.img", extra)


def looks(running: machine.Machine, *names: str) -> dict[str, Any]:
    """What guest/own_roots.py finds: name of a look → what was found."""
    status, said = running.run(f"python3 /pkgs/tests/own_roots.py {' '.join(names)}", 600)
    assert status == 0, said
    lines = [line.partition(" ")[2] for line in said.splitlines()
             if line.startswith("BOOTUNION-LOOK")]  # fmt: skip
    return {one["name"]: one["found"] for one in map(json.loads, lines)}


def console_login(running: machine.Machine, user: str, *allowed: str) -> dict[str, Any]:
    """What a user finds who logs in on the console."""
    running.type("exit")
    running.wait_for(r"demo login:", 60)
    running.type(user)
    running.wait_for(r"Password:", 60)
    running.type(PASSWORD)
    running.wait_for(rf"{user}@demo:", 120)
    running.type(f"python3 /var/lib/reach.py {' '.join(allowed)}")
    found = running.wait_for(r'\{"version.*\}', 120).group(0)
    running.wait_for(rf"{user}@demo:", 60)
    return dict(json.loads(found))


@pytest.fixture(scope="module")
def found(debian: Debian, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything that one boot shows."""
    work = tmp_path_factory.mktemp("own-roots")
    log = scenario.BUILD / "own-roots.console"
    with machine.boot(debian.kernel, debian.initrd("systemd"), scenario.CMDLINE,
                      disk(debian, work), log) as running:  # fmt: skip
        running.login()
        seen = looks(
            running, "prepare", "shells", "helped", "project", "logins", "service", "manager",
            "broken",
        )  # fmt: skip
        seen["console"] = {
            "alice": console_login(running, "alice", "1"),
            "carol": console_login(running, "carol"),
        }
        running.type("exit")
        running.login()
        running.succeed()
    (scenario.BUILD / "own-roots.json").write_text(json.dumps(seen, indent=1))
    return seen


def sees(found: dict[str, Any]) -> tuple[str, str]:
    """The version that a process gets; and no other way to one."""
    assert found["ways"] == [] and found["nested"] == []
    return found["version"], found["program"]


NO_LIBRARY = "error while loading shared libraries: libpin.so.1"


def test_two_shells_see_two_versions_and_a_third_sees_none(found: dict[str, Any]) -> None:
    shells = found["shells"]
    assert sees(shells["one"]) == ("1", "1")
    assert sees(shells["two"]) == ("2", "2")
    version, program = sees(shells["three"])
    assert version == "" and NO_LIBRARY in program
    assert (shells["other"]["version"], shells["other"]["program"]) == ("", "no program")


def test_the_machine_and_other_processes_notice_nothing(found: dict[str, Any]) -> None:
    assert found["machine"] == {"other": True, "mounts": True, "library": False}


def test_killed_shells_leave_no_mount_and_no_device(found: dict[str, Any]) -> None:
    left = found["shells-left"]
    assert left["while"] == 6  # libpin twice and pin-tool once, each a loop and a dm device
    assert (left["after"], left["mounts"]) == ([], True)


def test_a_user_without_privileges_gets_the_same_from_the_helper(found: dict[str, Any]) -> None:
    helped = found["helped"]
    assert (helped["user"], helped["checked"]) == ("carol", ["verity"] * 3)
    assert sees(helped["one"]) == ("1", "1")
    assert sees(helped["two"]) == ("2", "2")
    version, program = sees(helped["three"])
    assert version == "" and NO_LIBRARY in program
    assert found["helped-left"] == []


def test_a_project_is_read_through_dm_verity_by_root_and_by_a_user(found: dict[str, Any]) -> None:
    project = found["project"]
    said = {"value": 1, "place": "/usr/local/lib", "checked": "verity", "others": False}
    assert project["root"] == project["carol"] == said
    # Her own packages the helper does not believe, and there is no squashfuse.
    assert "[program-missing]" in project["refused"] and "squashfuse" in project["refused"]
    assert "the helper has not mounted them" in project["refused"]


def test_a_killed_project_leaves_no_mount_and_no_device(found: dict[str, Any]) -> None:
    project = found["project"]
    # The wheel's package and the interpreter's names; root and carol have the same devices.
    assert (project["devices"], project["devices-both"]) == (4, 4)
    assert (project["left"], project["mounts"]) == ([], True)


@pytest.mark.parametrize("way", ["ssh", "console"])
def test_a_users_list_is_there_from_login_on_and_nobody_elses(
    found: dict[str, Any], way: str
) -> None:
    seen = found[way]
    assert sees(seen["alice"]) == ("1", "1")
    assert (seen["carol"]["version"], seen["carol"]["program"]) == ("", "no program")
    assert seen["alice"]["directory"] == "/home/alice"
    if way == "ssh":
        assert sees(seen["bob"]) == ("2", "2")
        assert seen["root"]["version"] == ""


def test_a_killed_session_leaves_no_mount_and_no_device(found: dict[str, Any]) -> None:
    left = found["ssh-left"]
    assert (left["said"], left["while"]) == ("1", 4)
    assert (left["after"], left["mounts"]) == ([], [])


def test_a_users_own_services_see_the_users_packages(found: dict[str, Any]) -> None:
    manager = found["manager"]
    assert manager["alice"] == {"active": "active", "library": True}
    assert manager["carol"] == {"active": "active", "library": False}


def test_a_table_that_is_wrong_keeps_its_users_out_and_nobody_else(found: dict[str, Any]) -> None:
    assert found["broken"]["alice"] == {"refused": 254}
    for name in ("carol", "root"):
        assert found["broken"][name]["version"] == ""
    assert "session of alice refused" in found["broken-said"]
    assert "users-invalid" in found["broken-said"]


def test_a_service_has_its_list_and_leaves_nothing(found: dict[str, Any]) -> None:
    service = found["service"]
    assert (service["started"], service["root"]) == ("", "active"), service["status"]
    assert service["said"].splitlines()[0] == "2"
    assert service["alone"].startswith("Job for pin.service failed")
    assert (service["after"], service["mounts"]) == ([], True)
