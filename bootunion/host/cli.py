"""The command line: the group, and what a refusal or an interruption looks like."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
from pathlib import Path

import click

from bootunion import __version__
from bootunion.codes import EXIT_INTERRUPTED
from bootunion.errors import BootunionError

from .commands import initramfs, keys, lists, machine, packages, trust
from .store import refusing_full_disk

_EPILOG = """Exit statuses: 0 done, 1 something outside failed, 2 wrong words, 3 wrong input,
4 not trusted, 5 would not boot, 130 interrupted."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
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


_COMMANDS = (
    keys.keygen, keys.sign, trust.trust_group, packages.build, packages.import_group,
    lists.compose, lists.plan, lists.verify, initramfs.initramfs, initramfs.initramfs_files,
    machine.doctor, machine.mark_good,
)  # fmt: skip
for _command in _COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """Run the command line; a refusal is one sentence and its own exit status."""
    signal.signal(signal.SIGTERM, functools.partial(_interrupted))
    try:
        with refusing_full_disk(Path.cwd()):
            status = cli.main(standalone_mode=False)
    except BootunionError as error:
        _say(error)
        status = error.status
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
    sys.exit(status if isinstance(status, int) else 0)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _say(error: BootunionError) -> None:
    print(f"bootunion: {error} [{error.code}]", file=sys.stderr)
    print(f"  {error.way_out}", file=sys.stderr)
