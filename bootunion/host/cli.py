"""The command line: the group, and what a refusal or an interruption looks like."""

from __future__ import annotations

import contextlib
import errno
import importlib
import signal
import sys

import click

from bootunion import __version__
from bootunion.codes import EXIT_INTERRUPTED
from bootunion.errors import BootunionError

from . import interrupts

_EPILOG = """Exit statuses: 0 done, 1 something outside failed, 2 wrong words, 3 wrong input,
4 not trusted, 5 would not boot, 130 interrupted."""


# Each command and where it is defined: only the one that is asked for is imported.
_COMMANDS = {
    "keygen": "keys",
    "sign": "keys",
    "trust": "trust:trust_group",
    "build": "packages",
    "import": "packages:import_group",
    "compose": "lists",
    "plan": "plans",
    "verify": "lists",
    "initramfs": "initramfs",
    "initramfs-files": "initramfs",
    "fetch": "fetches",
    "publish": "fetches",
    "run": "namespaces",
    "shell": "namespaces",
    "mount": "logins",
    "service": "logins",
    "login-root": "logins",
    "doctor": "machine",
    "mark-good": "machine",
    "check-root": "running",
    "drift": "running",
    "boot-report": "reports",
    "install-hooks": "hooks",
    "completion": "shells",
}


class _Commands(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        found = importlib.import_module(f"{__package__}.commands.{module}")
        command: click.Command = getattr(found, name or cmd_name.replace("-", "_"))
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]},
             epilog=_EPILOG)  # fmt: skip
@click.version_option(__version__, prog_name="bootunion")
def cli() -> None:
    """A root file system that is a signed list of packages.

    \b
    From .debs to a machine, in the order of use:
      bootunion keygen keys
      bootunion compose system.yaml --store store --keys keys
      bootunion plan LIST --store store --trust keys/trust
      bootunion initramfs LIST --store store --trust keys/trust --output initrd.img
    """


def main() -> None:
    """Run the command line; a refusal is one sentence and its own exit status."""
    # A program started in the background by a shell has SIGINT ignored on purpose.
    heeded = (one for one in interrupts.SIGNALS if signal.getsignal(one) is not signal.SIG_IGN)
    interrupts.catch(_interrupted, tuple(heeded))
    try:
        status = cli.main(prog_name="bootunion", standalone_mode=False)
    except BootunionError as error:
        status = _refused(error)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        print("bootunion: interrupted; nothing half-written is left", file=sys.stderr)
        status = EXIT_INTERRUPTED
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            sys.stdout.close()
        status = 0
    except OSError as error:
        status = _refused(_from_system(error))
    sys.exit(status if isinstance(status, int) else 0)


def _interrupted(*_: object) -> None:
    # Clearing away must not be interrupted again; it is short.
    for number in interrupts.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _from_system(error: OSError) -> BootunionError:
    """A system call's error, met where no code of its own fits."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    subject = str(error.filename) if error.filename is not None else ""
    text = error.strerror or str(error)
    return BootunionError("disk-full" if full else "io-failed", text, subject=subject)


def _refused(error: BootunionError) -> int:
    from . import console  # noqa: PLC0415 - what goes well needs none of it

    console.refusal(error)
    return error.status
