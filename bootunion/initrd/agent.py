"""The agent's frame: what it was asked for, and how it ends.

Every input is a parameter with the initramfs's place as its default, so that the agent runs as
well on a fake root in a test. It ends with 0 when the root is assembled or nobody asked for it,
1 when it refused.
"""

from __future__ import annotations

import os
import sys
import time

from bootunion import cmdline
from bootunion.errors import BootunionError
from bootunion.native import INT, c_function

from .boot import Inputs, boot
from .report import Report
from .scopes import suppress

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from typing import Any

_REBOOT = {  # linux/reboot.h
    cmdline.HALT: 0xCDEF0123,
    cmdline.POWEROFF: 0x4321FEDC,
    cmdline.REBOOT: 0x01234567,
}


def main(arguments: list[str]) -> int:
    """Assemble the root that the kernel command line names."""
    inputs = _parse(arguments) if arguments else Inputs()
    report = Report(inputs.run, kmsg=inputs.kmsg)
    settings = cmdline.Settings()
    try:
        with open(inputs.cmdline, encoding="utf-8", errors="replace") as file:
            settings = cmdline.parse(file.read())
        if not settings.list_name:
            return 0
        if inputs.wait_only:
            from . import device  # noqa: PLC0415 - only machines that wait pay for it

            device.wait(settings.store, settings.timeout)
            return 0
        boot(inputs, settings, report)
    except BootunionError as error:
        return _give_up(inputs, settings, report, error)
    except Exception as error:
        # A mistake in the agent stops the boot like any refusal; it never ends in a prompt.
        text = f"{type(error).__name__}: {error}"
        return _give_up(inputs, settings, report, BootunionError("agent-failed", text))
    report.save("assembled")
    return 0


def _give_up(
    inputs: Inputs, settings: cmdline.Settings, report: Report, error: BootunionError
) -> int:
    report.stop(error)
    # Whoever could not count its reboots must not reboot.
    careful = cmdline.HALT if settings.on_failure == cmdline.REBOOT else settings.on_failure
    action = str(report.facts.setdefault("action", careful))
    with suppress(OSError):
        report.save("refused")
    _clear(inputs.sysroot)
    if action in _REBOOT and not inputs.keep_running:
        print(f"bootunion: this machine stops here ({action})", file=sys.stderr)
        sys.stderr.flush()
        os.sync()
        # The console's last words are still in a slow serial line's buffer.
        time.sleep(1)
        c_function("reboot", INT)(_REBOOT[action])
    return 1


def _clear(sysroot: str) -> None:
    """Whatever comes next, leave nothing at the sysroot that could be switched to."""
    from . import mount  # noqa: PLC0415

    with suppress(OSError):
        while os.path.ismount(sysroot):
            mount.unmount(sysroot, mount.MNT_DETACH)


_VALUES = ("sysroot", "run", "cmdline", "trust", "kmsg")
_SWITCHES = ("keep_running", "wait_only")


def _parse(arguments: list[str]) -> Inputs:
    """`--NAME VALUE` and `--SWITCH` for the fields of Inputs; anything else ends with status 2.

    By hand: argparse takes longer to load than the checks, and brings modules into the initramfs.
    """
    found: dict[str, Any] = {}
    left = iter(arguments)
    for word in left:
        name = word.removeprefix("--").replace("-", "_")
        value = next(left, "") if name in _VALUES else ""
        if not word.startswith("--") or not (value or name in _SWITCHES):
            print(f"bootunion-agent: {word}: no such option, or no value", file=sys.stderr)
            sys.exit(2)
        found[name] = value or True
    return Inputs(**found)
