"""`bootunion run` by an ordinary user, where the helper mounts the packages."""

import subprocess
import sys
from collections.abc import Iterator

import helping
import pytest
from composing import needs_root, run
from helping import serving
from test_run import USER, Room, room

pytestmark = needs_root
__all__ = ["room"]
PROGRAM = str(helping.TOP / "tests/helper_unverified.py")
SAY = (
    "sh",
    "-c",
    "cat /usr/lib/demo/library; echo $BOOTUNION_VERIFICATION; id -u; cat /etc/demo 2>&1; true",
)

HOLD = """
import os, socket, sys, time
os.setresuid(*3 * [int(sys.argv[2])])
held = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(4)]
for one in held:
    one.connect(sys.argv[1])
print("held", flush=True)
time.sleep(3)
"""


@pytest.fixture
def system(room: Room) -> Iterator[helping.System]:
    """The room's store as the system's, served."""
    made = helping.System(room.desk.top, room.desk.store, {})
    with serving(made, program=PROGRAM):
        yield made


def out(room: Room, system: helping.System, *words: object) -> str:
    said = run(room.argv(*words, user=USER), HOME=str(room.home),
               BOOTUNION_HELPER=str(system.socket))  # fmt: skip
    assert said.status == 0, said.err
    return said.out


def test_two_versions_at_one_path_through_the_helper(
    room: Room,
    system: helping.System,
) -> None:
    for version, text in (("1", "one"), ("2", "two")):
        found = out(room, system, "--with", f"libdemo={version}", "--", *SAY)
        assert found.startswith(f"{text}\nverity\n{USER}\n")
        assert found.endswith("\n1\n") == (version == "1")  # the other one has no such file
    assert "has 1 packages" in (system.top / "log").read_text()


def test_a_pure_root_through_the_helper(room: Room, system: helping.System) -> None:
    room.box()
    found = out(room, system, "--pure", "--with", "libdemo=1", "--with", "box", "--",
                "sh", "-c", "cat /usr/lib/demo/library; ls /usr; pwd")  # fmt: skip
    assert found.splitlines()[:3] == ["one", "bin", "lib"]


def test_files_of_two_packages_are_two_to_a_loader(room: Room, system: helping.System) -> None:
    # It takes files of one device and number for one.
    names = [f"part{number}" for number in range(40)]
    for name in names:
        room.desk.package(name, **{f"usr/lib/{name}": name})
    places = "dev proc sys run tmp var home root srv mnt media etc"
    room.desk.package("places", **{f"{name}/.place": "" for name in places.split()})
    room.box()
    few = ["--pure", "--with", "box", "--with", "part0", "--with", "part1"]
    many = ["--pure", "--with", "box", "--with", "places",
            *(word for name in names for word in ("--with", name))]  # fmt: skip
    for words in (few, many):
        files = ["/usr/lib/part0", "/usr/lib/part1"]
        found = out(room, system, *words, "--", "busybox", "stat", "-c", "%d:%i", *files)
        assert len(set(found.split())) == 2, found
        assert out(room, system, *words, "--", "cat", *files) == "part0part1"


def test_what_the_helper_does_not_mount_is_mounted_without_it(
    room: Room,
    system: helping.System,
) -> None:
    # For the helper this store is not believed: its keys are others.
    with serving(system, f"--trust={room.desk.top}/none", program=PROGRAM):
        found = out(room, system, "--with", "libdemo=1", "--", *SAY)
        assert found == f"one\nchecked\n{USER}\n1\n"


def test_a_busy_helper_is_waited_for(room: Room, system: helping.System) -> None:
    # It serves four requests of one user at once.
    argv = [sys.executable, "-c", HOLD, str(system.socket), str(USER)]
    with (
        serving(system, program=PROGRAM),
        subprocess.Popen(argv, stdout=subprocess.PIPE) as holding,
    ):
        assert holding.stdout is not None
        assert holding.stdout.readline() == b"held\n"
        found = out(room, system, "--with", "libdemo=1", "--", *SAY)
        assert holding.wait() == 0
    assert found.startswith("one\nverity\n")
    assert "refused: helper-busy" in (system.top / "log").read_text()
