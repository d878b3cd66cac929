"""Whole boots: a damaged generation falls back, tries are counted, a cut power loses nothing."""

import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import cellkinds
import cells
import machine
import pytest
import scenario
import tiny
from guest import edits as guest_edits

pytestmark = pytest.mark.qemu

AT_ONCE = 2  # one processor each
KILLS = int(os.environ.get("BOOTUNION_KILLS", "15"))
KILLS_A_DISK = 5
SUCCESS = machine.SUCCESS << 1 | 1
CMDLINE = "bootunion=tiny quiet"
T = TypeVar("T")

# Cells of the matrix that also have to be seen as whole boots.
WHOLE_BOOTS = (
    "list: missing", "list: emptied", "list: a symlink", "list: a FIFO", "list: another valid one",
    "list: 1 GiB", "list: extended by a byte", "no signature", "an unknown key",
    "wrong role: a package signer", "signed: a layer twice", "signed: 501 layers",
    "another architecture", "expired", "package: missing", "package: another valid one",
    "package: extended by a block", "package: a FIFO", "squashfs superblock: magic",
    "hash tree, top level", "padding behind the squashfs",
)  # fmt: skip


@pytest.fixture(scope="module")
def good() -> tiny.Tiny:
    return tiny.make()


def each(items: Sequence[T], work: Callable[[T], Any]) -> list[Any]:
    """The results of `work` on each item, a few at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, items))


class Disk:
    """A disk with a store that is booted again and again; its writes are kept."""

    def __init__(self, good: tiny.Tiny, store: Path, work: Path, name: str) -> None:
        self.good = good
        self.name = name
        self.boots = 0
        self.path = machine.store_disk(store, work / f"{name}.img")

    def start(self, words: str = "") -> Any:
        """A boot of it (a context manager that gives the machine)."""
        self.boots += 1
        log = scenario.BUILD / f"fallback-{self.name}-{self.boots}.console"
        action = "" if "on-failure" in words else " bootunion.on-failure=poweroff"
        return machine.boot(
            self.good.kernel, self.good.initrd, f"{CMDLINE} {words}{action}", self.path, log,
            memory=512, keep_writes=True, processors=1,
        )  # fmt: skip

    def boot(self, words: str = "", status: int = SUCCESS) -> str:
        """A whole boot; its console. The machine must end by itself with `status`."""
        with self.start(words) as running:
            ended = running.end(180)
            said = str(running.console)
        assert ended == status, said[-2000:]
        return said

    def read(self, path: str) -> bytes:
        """A file of its store, as it lies on the disk now."""
        argv = ["/usr/sbin/debugfs", "-R", f"cat /{path}", str(self.path)]
        return subprocess.run(argv, capture_output=True, check=True).stdout

    def state(self) -> dict[str, Any]:
        """What the machine remembers."""
        found: dict[str, Any] = json.loads(self.read("state/tiny.json"))
        return found

    def check(self) -> None:
        """The file system must be whole after its journal was replayed."""
        argv = ["/usr/sbin/e2fsck", "-f", "-y", str(self.path)]
        assert subprocess.run(argv, capture_output=True, check=False).returncode in (0, 1)


def damaged(
    good: tiny.Tiny, work: Path, edits: Sequence[cellkinds.Edit], files: cellkinds.Files
) -> Path:
    """A copy of the store with a cell's edits, made by the code that makes them in the guest."""
    store = work / "store"
    shutil.copytree(good.store, store)
    for one in edits:
        guest_edits.edit(str(store), *one, files=str(files.directory))
    return store


def test_a_damaged_generation_falls_back_to_the_good_one(good: tiny.Tiny, tmp_path: Path) -> None:
    files = cellkinds.Files(tmp_path / "files")
    matrix = {cell.name: cell for cell in cells.all_cells(good, files)}

    def boot(number: int) -> tuple[str, str]:
        cell = matrix[WHOLE_BOOTS[number]]
        work = tmp_path / f"{number}"
        work.mkdir()
        disk = Disk(good, damaged(good, work, cell.edits, files), work, f"whole-{number}")
        said = disk.boot()
        shutil.rmtree(work)
        return cell.name, said

    for name, said in each(range(len(WHOLE_BOOTS)), boot):
        ((_, code),) = matrix[name].codes
        assert f"REFUSED [{code}]" in said, name
        assert "BOOTED generation=1" in said, name
        assert "BOOTED generation=2" not in said, name


def test_when_nothing_is_left_the_machine_stops(good: tiny.Tiny, tmp_path: Path) -> None:
    files = cellkinds.Files(tmp_path / "files")
    edits = [("flip", f"lists/tiny/{generation}.json", 40) for generation in (1, 2)]
    disk = Disk(good, damaged(good, tmp_path, edits, files), tmp_path, "nothing-left")
    said = disk.boot(status=0)
    assert len(re.findall(r"^bootunion: REFUSED \[signature-invalid\]", said, re.MULTILINE)) == 2
    assert "STOPPED [no-generation-left]" in said
    assert "BOOTED" not in said
    report = json.loads(disk.read("reports/0000000001.json"))
    assert [one["code"] for one in report["refused"]] == ["signature-invalid"] * 2

    # Rebooting is bounded: QEMU ends at each reboot, and the fourth refusal halts.
    for _ in range(3):
        assert "stops here (reboot)" in disk.boot("bootunion.on-failure=reboot", status=0)
    with disk.start("bootunion.on-failure=reboot") as running:
        running.wait_for(r"stops here \(halt\)", 120)


def test_a_generation_that_never_comes_up_is_given_up_after_its_tries(
    good: tiny.Tiny, tmp_path: Path
) -> None:
    disk = Disk(good, good.store, tmp_path, "tries")
    # Generation 1 is good; then 2 is wanted and its root reboots the machine each time.
    assert "MARKED" in disk.boot("bootunion.generation=1 tiny.good")
    assert disk.state()["good"] == 1
    for count in (1, 2, 3):
        assert "BOOTED generation=2" in disk.boot("tiny.reboot", status=0)
        assert disk.state()["tries"] == [[2, count]]
    said = disk.boot("tiny.good")
    assert "REFUSED [tries-exhausted]" in said and "BOOTED generation=1" in said
    assert disk.state()["good"] == 1 and disk.state()["tries"] == [[2, 3]]
    # An operator's word does not change that, a good boot of 2 would: here nothing has.
    assert "BOOTED generation=1" in disk.boot("bootunion.generation=2")


@pytest.mark.parametrize("corruption", ["restart", "panic"])
def test_corruption_that_restarts_ends_in_fallback_and_not_in_a_loop(
    good: tiny.Tiny, tmp_path: Path, corruption: str
) -> None:
    files = cellkinds.Files(tmp_path / "files")
    matrix = {cell.name: cell for cell in cells.all_cells(good, files)}
    cell = next(one for name, one in matrix.items() if name.startswith("data block"))
    store = damaged(good, tmp_path, cell.edits, files)
    system = tiny.read_list(good, 2)._replace(corruption=corruption, tries=2)
    tiny.write_list(good, store, system)
    disk = Disk(good, store, tmp_path, corruption)
    for _ in range(2):
        said = disk.boot("tiny.ballast", status=0)  # -no-reboot: a restart ends QEMU
        assert "BOOTED generation=2" in said and "READ ended" not in said
    said = disk.boot("tiny.ballast")
    assert "REFUSED [tries-exhausted]" in said
    assert "BOOTED generation=1" in said and "READ ended with 0" in said


def test_a_store_that_takes_no_writes_boots_all_the_same(good: tiny.Tiny, tmp_path: Path) -> None:
    disk = Disk(good, good.store, tmp_path, "read-only")
    subprocess.run(["/usr/sbin/tune2fs", "-O", "read-only", disk.path], check=True,
                   capture_output=True)  # fmt: skip
    said = disk.boot()
    assert "WARNING [state-unwritable]" in said and "BOOTED generation=2" in said


def test_power_cuts_at_random_moments_lose_nothing(good: tiny.Tiny, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")

    def chain(number: int) -> list[float]:
        luck = random.Random(seed + number)
        disk = Disk(good, good.store, tmp_path, f"cut-{number}")
        assert "MARKED" in disk.boot("bootunion.generation=1 tiny.good")
        moments = []
        for _ in range(KILLS_A_DISK):
            with disk.start("tiny.good") as running:
                running.wait_for(r"insmod", 60)  # what comes before writes nothing
                moments.append(luck.uniform(0, 6))
                running.sleep(moments[-1])
        said = disk.boot("tiny.good")
        assert "BOOTED generation=" in said and "MARKED" in said, said[-2000:]
        state = disk.state()
        assert state["good"] in (1, 2) and state["boots"] >= 2
        disk.check()
        disk.path.unlink()
        return moments

    moments = each(range(-(-KILLS // KILLS_A_DISK)), chain)
    assert sum(map(len, moments)) >= KILLS
