"""The command line: the group, and what a refusal or an interruption looks like."""

from __future__ import annotations

import importlib
import sys

import click

from bootunion import __version__

from . import frame

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
    "seal": "sealing",
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
    sys.exit(frame.run(_work))


def _work() -> object:
    try:
        return cli.main(prog_name="bootunion", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
