"""Composing, interrupted: at once, and nothing is left of it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from composing import CACHE, Shop, deb, loops, needs_root

pytestmark = needs_root
_PATIENCE = 60.0  # seconds; a bound for a test that fails, never for one that passes


def until(what: Callable[[], bool]) -> bool:
    end = time.monotonic() + _PATIENCE
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def processes(mark: str) -> set[int]:
    """Who has `mark` in the environment; a process that ends has none any more."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


def sleepers(name: str) -> set[int]:
    """Processes that were called by this word; scripts do not have the caller's environment."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if name.encode() in path.read_bytes().split(b"\0"):
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


class Running:
    """A compose under way, with a mark in its environment and its output in a file."""

    def __init__(self, shop: Shop, text: str) -> None:
        self.shop = shop
        self.mark = f"BOOTUNION_TEST_MARK={os.getpid()}-{time.monotonic_ns()}"
        self.log = shop.top / "log"
        key, _, value = self.mark.partition("=")
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                shop.argv(text, CACHE), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={**os.environ, key: value}, start_new_session=True,
            )  # fmt: skip

    def said(self) -> str:
        return self.log.read_text()

    def nothing_left(self) -> None:
        """No process, no mount, no loop device."""
        store = str(self.shop.store)
        assert until(lambda: not processes(self.mark)), processes(self.mark)
        assert store not in Path("/proc/self/mountinfo").read_text()
        assert until(lambda: not [file for file in loops() if file.startswith(store)])
        assert not self.shop.lists()


@pytest.fixture
def start(shop: Shop, tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    started: list[Running] = []

    def begin(text: str) -> Running:
        started.append(Running(shop, text))
        return started[-1]

    yield begin
    for one in started:
        if one.child.poll() is None:
            one.child.kill()
            one.child.wait()


def importing(shop: Shop, tmp_path: Path, start: Callable[[str], Running]) -> Running:
    """A compose that is in the middle of importing the small system."""
    for path in (shop.store / "packages").iterdir():
        path.unlink()
    running = start("")
    asides = (shop.store / "packages").glob
    assert until(lambda: any(asides("*.json")) and any(asides(".new-*"))), running.said()
    return running


def configuring(shop: Shop, tmp_path: Path, start: Callable[[str], Running]) -> Running:
    """A compose that is in the middle of a maintainer script, which has a child of its own."""
    # It ignores what can be ignored, and is found by the name of its child.
    script = "trap '' HUP INT TERM; sleep 4242.17 & sleep 4242.17"
    running = start(f"local: [{deb(tmp_path, 'sleeping', postinst=script)}]\n")
    assert until(lambda: len(sleepers("4242.17")) == 2), running.said()
    return running


STAGES = {"importing": importing, "configuring": configuring}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupted_compose_leaves_nothing(
    stage: str, number: signal.Signals, shop: Shop, tmp_path: Path,
    start: Callable[[str], Running],
) -> None:  # fmt: skip
    running = STAGES[stage](shop, tmp_path, start)
    running.child.send_signal(number)
    assert running.child.wait(_PATIENCE) == 130, running.said()
    # At this moment, not after a while: scripts have ended and what is half-written is gone.
    assert not sleepers("4242.17")
    assert shop.whole()
    running.nothing_left()
    assert running.said().splitlines()[-1].startswith("bootunion: interrupted")
    assert "Traceback" not in running.said()


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_reaches_the_whole_group_and_leaves_nothing(
    stage: str, shop: Shop, tmp_path: Path, start: Callable[[str], Running]
) -> None:
    running = STAGES[stage](shop, tmp_path, start)
    os.killpg(running.child.pid, signal.SIGINT)
    assert running.child.wait(_PATIENCE) == 130, running.said()
    assert not sleepers("4242.17") and shop.whole()
    running.nothing_left()
    assert "Traceback" not in running.said()


@pytest.mark.parametrize("stage", STAGES)
def test_children_die_with_a_killed_compose(
    stage: str, shop: Shop, tmp_path: Path, start: Callable[[str], Running]
) -> None:
    running = STAGES[stage](shop, tmp_path, start)
    running.child.kill()
    running.child.wait()
    assert until(lambda: not sleepers("4242.17"))
    running.nothing_left()
    # Nobody could clear away, but no package is half there, and the next run clears the rest.
    for path in (shop.store / "packages").glob(".new-*"):
        os.utime(path)
    left = [path for path in (shop.store / "packages").iterdir() if path.name[0] != "."]
    manifests = [path for path in left if path.suffix == ".json"]
    for path in manifests:
        assert path.with_suffix(".squashfs") in left and path.with_suffix(".contents") in left
