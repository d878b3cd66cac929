"""A store that is itself a root that boots, and an agent that cannot do its work.

Whatever keeps the agent from working, nobody switches to what lies at the sysroot, and there is no
prompt: the machine stops.
"""

from pathlib import Path

import hostile
import machine
import pytest
import scenario
from scenario import Debian

pytestmark = pytest.mark.qemu


@pytest.fixture(scope="module")
def evil_disk(debian: Debian, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's lists on a file system that a generator takes for a root."""
    return hostile.evil_disk(debian.store / "lists", tmp_path_factory.mktemp("evil"))


@pytest.mark.parametrize("flavour", scenario.FLAVOURS)
@pytest.mark.parametrize("how", hostile.BROKEN)
def test_nothing_is_switched_to_when_the_agent_fails(
    debian: Debian, evil_disk: Path, tmp_path: Path, flavour: str, how: str
) -> None:
    initrd = hostile.broken_initrd(debian.initrd(flavour), how, tmp_path)
    log = scenario.BUILD / f"hostile-{flavour}-{list(hostile.BROKEN).index(how)}.console"
    cmdline = f"{scenario.CMDLINE} bootunion.on-failure=poweroff"
    with machine.boot(debian.kernel, initrd, cmdline, evil_disk, log) as running:
        running.wait_for(r"bootunion: this machine stops here \(poweroff\)", 240)
        assert running.end(60) == 0
        said = running.console
    # The broken agent really was the one that ran.
    assert "is signed by" not in said and ("AGENT IS KILLED" in said) == ("killed" in how)
    for marker in ("EVIL ROOT RUNS", "emergency mode", "Press Enter", "debug shell", "login:"):
        assert marker not in said


def test_the_evil_root_would_boot(debian: Debian, evil_disk: Path) -> None:
    """Without bootunion= the same disk boots: the tests above can fail."""
    log = scenario.BUILD / "hostile-control.console"
    with machine.boot(
        debian.kernel, debian.initrd("plain"), "root=LABEL=pkgs", evil_disk, log
    ) as running:
        running.wait_for("EVIL ROOT RUNS", 240)


@pytest.mark.parametrize("flavour", scenario.FLAVOURS)
def test_a_device_that_does_not_come_ends_without_a_prompt(
    debian: Debian, evil_disk: Path, flavour: str
) -> None:
    log = scenario.BUILD / f"hostile-no-device-{flavour}.console"
    cmdline = "root=LABEL=elsewhere bootunion=demo rd.retry=4 rd.timeout=8"
    cmdline += " bootunion.on-failure=poweroff"
    with machine.boot(debian.kernel, debian.initrd(flavour), cmdline, evil_disk, log) as running:
        running.wait_for(r"STOPPED \[store-missing\]", 300)
        assert running.end(120) == 0
        said = running.console
    for marker in ("emergency mode", "Press Enter", "debug shell", "EVIL ROOT RUNS"):
        assert marker not in said


def test_a_store_of_its_own_device_is_waited_for(debian: Debian) -> None:
    """No root= at all: the agent finds the device by udev (bootunion.store=)."""
    for flavour in scenario.FLAVOURS:
        log = scenario.BUILD / f"store-device-{flavour}.console"
        cmdline = "bootunion.store=LABEL=pkgs bootunion=demo"
        with machine.boot(
            debian.kernel, debian.initrd(flavour), cmdline, debian.disk, log
        ) as running:
            running.login()
            status, said = running.run("findmnt -n -o FSTYPE /; ls /pkgs/lists", 60)
            assert status == 0 and "overlay" in said and "demo" in said
            running.succeed()
