"""The agent's course: read, verify, plan, carry out, report.

Every input is a parameter with the initramfs's place as its default, so that the agent runs as
well on a fake root in a test. It ends with 0 when the root is assembled, 1 when it refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from typing import NamedTuple

from bootunion import cmdline, dsse, plan, systemlist, trust
from bootunion.errors import BootunionError

from .executor import Executor
from .report import Report
from .store import Store

_REBOOT = {  # linux/reboot.h
    cmdline.HALT: 0xCDEF0123,
    cmdline.POWEROFF: 0x4321FEDC,
    cmdline.REBOOT: 0x01234567,
}


class Inputs(NamedTuple):
    """Where the agent finds what it works from; the defaults are those of an initramfs."""

    sysroot: str = "/sysroot"
    run: str = "/run"
    cmdline: str = "/proc/cmdline"
    trust: str = "/etc/bootunion/trust"
    kmsg: str = "/dev/kmsg"
    keep_running: bool = False  # a test outlives a refusal; a machine does what on-failure= says


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
        assemble(inputs, settings, report)
    except BootunionError as error:
        return _give_up(inputs, settings, report, error)
    except Exception as error:
        # A mistake in the agent stops the boot like any refusal; it never ends in a prompt.
        text = f"{type(error).__name__}: {error}"
        return _give_up(inputs, settings, report, BootunionError("agent-failed", text))
    report.save("assembled")
    return 0


def assemble(inputs: Inputs, settings: cmdline.Settings, report: Report) -> None:
    """Make the root at `inputs.sysroot` that `settings` ask for.

    Raises BootunionError; then nothing that was made is left.
    """
    machine = plan.Machine(os.uname().machine, os.uname().release, int(time.time()))
    with contextlib.ExitStack() as stack:
        place = inputs.sysroot
        if settings.store:
            place = f"{inputs.run}/bootunion/store"
            with report.step("wait-for-store"):
                _mount_store(settings, place, stack)
        with report.step("read-list"):
            store = stack.enter_context(Store(place, settings.directory))
            envelope, subject, generation = _read_list(store, settings)
            trusted = _read_trust(inputs.trust)
        with report.step("verify-list"):
            payload, signers = trust.open_envelope(
                trusted, trust.ROLE_LIST, envelope, subject=subject
            )
            system = systemlist.decode(payload, subject=subject)
            systemlist.check_place(system, settings.list_name, generation, subject=subject)
        report.facts["list"] = {"name": system.name, "generation": system.generation}
        report.facts["signers"] = signers
        report.facts["packages"] = len(system.layers)
        key_names = ", ".join(signer[:16] for signer in signers)
        report.say(f"{subject} is signed by {key_names}: {len(system.layers)} packages")
        for refusal in plan.refusals(system, machine):
            raise refusal
        executor = stack.enter_context(Executor(store, report.steps.append))
        executor.execute(plan.for_boot(system, plan.Places(inputs.sysroot, inputs.run)))
        report.facts["overlay_layers_by"] = executor.interface
    took = (report.steps[-1].end - report.steps[0].start) // 1_000_000
    report.say(f"assembled the root of {len(system.layers)} packages in {took} ms")


def _read_list(store: Store, settings: cmdline.Settings) -> tuple[dsse.Envelope, str, int]:
    name = settings.list_name
    generation = settings.generation or store.current(name)
    subject = f"lists/{name}/{generation}.json"
    data = store.read("lists", name, f"{generation}.json", limit=systemlist.MAX_SIZE)
    return dsse.decode(data, subject=subject), subject, generation


def _read_trust(directory: str) -> trust.Trust:
    path = f"{directory}/{trust.FILE_NAME}"
    try:
        with open(path, "rb") as file:
            data = file.read(trust.MAX_SIZE)
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise BootunionError("trust-invalid", text, subject=path) from None
    return trust.decode(data, subject=path)


def _mount_store(settings: cmdline.Settings, place: str, stack: contextlib.ExitStack) -> None:
    # pyudev is imported only by machines that wait for a device.
    from . import device, mount  # noqa: PLC0415

    node, fstype = device.wait(settings.store, settings.timeout)
    device.mount_store(node, fstype, place)
    # The new root has a clone of this mount; the one here goes in any case.
    stack.callback(mount.unmount, place, mount.MNT_DETACH)


def _give_up(
    inputs: Inputs, settings: cmdline.Settings, report: Report, error: BootunionError
) -> int:
    report.refuse(error)
    with contextlib.suppress(OSError):
        report.save("refused")
    if os.path.ismount(inputs.sysroot):
        from . import mount  # noqa: PLC0415

        # Whatever comes next, there is nothing at the sysroot that could be switched to.
        with contextlib.suppress(OSError):
            mount.unmount(inputs.sysroot, mount.MNT_DETACH)
    if settings.on_failure in _REBOOT and not inputs.keep_running:
        print(f"bootunion: this machine stops here ({settings.on_failure})", file=sys.stderr)
        sys.stderr.flush()
        os.sync()
        # The console's last words are still in a slow serial line's buffer.
        time.sleep(1)
        ctypes.CDLL(None).reboot(ctypes.c_int(_REBOOT[settings.on_failure]))
    return 1


def _parse(arguments: list[str]) -> Inputs:
    # At boot there are no arguments, and argparse's import would cost more than the checks.
    import argparse  # noqa: PLC0415

    parser = argparse.ArgumentParser(
        prog="bootunion-agent", description="Turn a signed list of packages into a root."
    )
    default = Inputs()
    parser.add_argument("--sysroot", default=default.sysroot, help="where the root is made")
    parser.add_argument("--run", default=default.run, help="directory for run-time files")
    parser.add_argument("--cmdline", default=default.cmdline, help="kernel command line file")
    parser.add_argument("--trust", default=default.trust, help="directory with trust.json")
    parser.add_argument("--kmsg", default=default.kmsg, help="where kernel log lines go")
    parser.add_argument(
        "--keep-running", action="store_true", help="do not halt the machine on a refusal"
    )
    return Inputs(**vars(parser.parse_args(arguments)))
