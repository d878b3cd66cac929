"""`bootunion run` on a machine that booted its list by an index: that index is the root's base."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import erofstools
import helping
import pytest
from composing import Said, needs_root, run
from test_helper_run import PROGRAM
from test_run import LIBRARY, USER, Room, room

from bootunion import merge, plan, process, systemlist
from bootunion import operations as op
from bootunion.host import namespace
from bootunion.host.index import making
from bootunion.host.signing import Signer
from bootunion.initrd import mount
from bootunion.initrd.executor import Executor
from bootunion.initrd.store import Store as Reader
from bootunion.package import EROFS_UNCOMPRESSED
from bootunion.systemlist import SystemList

pytestmark = needs_root
__all__ = ["room"]
LOOK = f"cat /{LIBRARY} /usr/lib/plain/file; ls /usr/lib; echo $BOOTUNION_VERIFICATION"
Result = TypeVar("Result")


class Machine:
    """A room whose packages are EROFS, with a list and its index."""

    def __init__(self, room: Room) -> None:
        self.room, self.top = room, room.desk.top
        room.desk.image_format = EROFS_UNCOMPRESSED
        plain = room.desk.package("plain", "1", **{"usr/lib/plain/file": "plain\n"})
        packages = [room.desk.base(), room.box(), plain]
        self.older = room.desk.package("plain", "0", **{"usr/lib/plain/file": "older\n"})
        store, keys = room.desk.store, room.desk.keys
        listed = room.desk.list(*packages, name="machine")
        merged = merge.merge(store.entries(one) for one in packages)
        index = making.make(store, listed, merged, Signer(keys / "package.key"))
        self.list = listed._replace(index_layer=index, generation=2)
        envelope = Signer(keys / "list.key")(self.list.encode(), systemlist.PAYLOAD_TYPE)
        store.add_list("machine", 2, envelope)

    def inside(self, work: Callable[[], Result]) -> Result:
        """What `work` gives on the machine, booted as the agent would but for dm-verity."""
        return namespace.in_namespace(lambda: self._booted(work))

    def _booted(self, work: Callable[[], Result]) -> Result:
        mount.mount("proc", "/proc", "proc", 0, "")  # of this process namespace
        Path("/run/bootunion").mkdir(exist_ok=True)
        mount.mount("", "/run/bootunion", "tmpfs", 0, "mode=0755")
        listed = {"name": "machine", "generation": 2, "floor": 0, "created": 0}
        report = {"list": listed, "number": 1, "result": "assembled", "union": "index"}
        Path("/run/bootunion/boot.json").write_text(json.dumps(report))
        work_in = str(self.top / "work-in")
        united = plan.for_namespace(self.list, work_in, upper="", verity=False)
        count = len(self.list.layers)
        with Reader(str(self.room.desk.store.path)) as reader, Executor(reader) as executor:
            executor.execute(
                (*united, op.KeepIndex(count, process.INDEX), op.RemoveWorkspace(work_in))
            )
        return work()

    def say(self, *words: object, user: int = 0, **variables: str) -> Said:
        home = {"HOME": str(self.room.home)} if user else {}
        return run(self.room.argv(*words, user=user), **home, **variables)


@pytest.fixture
def machine(room: Room, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    erofstools.put_first(monkeypatch, erofstools.directory())
    yield Machine(room)


def test_packages_come_over_the_index(machine: Machine) -> None:
    def look() -> tuple[Said, Said, Said]:
        wanted = ("--with", "libdemo=1")
        return (machine.say(*wanted, "--plan", "--", "true"),
                machine.say(*wanted, "--", "sh", "-c", LOOK),
                machine.say("--", "sh", "-c", LOOK))  # fmt: skip

    steps, over, alone = machine.inside(look)
    assert process.INDEX in steps.out and "plain" not in steps.out
    assert over.out.split() == ["one", "plain", "demo", "plain", "checked"], over.err
    assert alone.out.split() == ["plain", "plain", "checked"], alone.err


def test_what_replaces_a_package_of_the_list_comes_over_its_layers(machine: Machine) -> None:
    def look() -> tuple[Said, Said]:
        show = ("--", "sh", "-c", LOOK)
        return (machine.say("--with", "plain=0", *show),
                machine.say("--without", "plain", "--with", "libdemo", *show))  # fmt: skip

    replaced, without = machine.inside(look)
    assert replaced.out.split() == ["older", "plain", "checked"], replaced.err
    assert without.out.split() == ["two", "demo", "checked"], without.err


def test_a_list_that_was_united_layer_by_layer_has_no_index(machine: Machine) -> None:
    def look() -> Said:
        report = Path("/run/bootunion/boot.json")
        report.write_text(report.read_text().replace('"index"', '"layers"'))
        return machine.say("--plan", "--", "true")

    said = machine.inside(look)
    assert "plain" in said.out and process.INDEX not in said.out, said.err


class Booted(helping.System):
    """A system of whose packages some are held by the machine itself."""

    def devices(self) -> list[str]:
        return [one for one in super().devices() if "libdemo" in one]


def test_the_helper_hands_over_a_union_with_the_index_below(machine: Machine) -> None:
    system = Booted(machine.top, machine.room.desk.store, {})

    def look() -> tuple[Said, Said]:
        with helping.serving(system, "--report=/run/bootunion/boot.json", program=PROGRAM):
            words = (("--with", "libdemo=1"), ())
            first, second = (
                machine.say(*one, "--", "sh", "-c", LOOK, user=USER,
                            BOOTUNION_HELPER=str(system.socket)) for one in words
            )  # fmt: skip
            return first, second

    over, alone = machine.inside(look)
    assert over.out.split() == ["one", "plain", "demo", "plain", "verity"], over.err
    assert alone.out.split() == ["plain", "plain", "verity"], alone.err
    assert "has 1 packages (machine)" in (system.top / "log").read_text()


def test_a_user_without_a_helper_is_told_what_an_index_takes(machine: Machine) -> None:
    said = machine.inside(lambda: machine.say("--with", "libdemo=1", "--", "true", user=USER))
    assert said.status == 125
    assert "[privilege-missing]" in said.err and "index" in said.err


def test_the_agent_keeps_the_index_for_processes() -> None:
    listed = SystemList("x", 1, 0, 0, "amd64", "", (), "none", "0" * 64)
    assert plan.Places().kept_index == process.INDEX
    assert not any(isinstance(one, op.KeepIndex) for one in plan.for_boot(listed, plan.Places()))
