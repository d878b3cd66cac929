"""The command line. Each command gathers its inputs, calls one function and shows the result."""

from __future__ import annotations

import contextlib
import functools
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bootunion import __version__, trust
from bootunion.errors import EXIT_INTERRUPTED, EXIT_PLAN, EXIT_UNTRUSTED, BootunionError

from . import console
from .signing import Signer
from .store import Store, refusing_full_disk

_EPILOG = """Exit statuses: 0 done, 1 something outside failed, 2 wrong words, 3 wrong input,
4 not trusted, 5 would not boot, 130 interrupted."""
_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)

store_option = click.option(
    "--store", "store_path", type=_DIRECTORY, default=Path("/pkgs"), show_default=True,
    envvar="BOOTUNION_STORE", show_envvar=True, help="Directory of packages and lists.",
)  # fmt: skip
trust_option = click.option(
    "--trust", "trust_path", type=_DIRECTORY, default=Path("/etc/bootunion/trust"),
    show_default=True, envvar="BOOTUNION_TRUST", show_envvar=True,
    help="Directory with trust.json.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def package_key_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how packages are signed."""
    for option in (
        click.option("--sign-command", default="", metavar="COMMAND",
                     help="Program that signs: bytes on its standard input, the 64-byte "
                          "signature on its output; --package-key is then the public key."),
        click.option("--package-key", type=_FILE, required=True,
                     envvar="BOOTUNION_PACKAGE_KEY", show_envvar=True,
                     help="Key that signs manifests (PEM)."),
    ):  # fmt: skip
        function = option(function)
    return function


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


@cli.command()
@click.argument("directory", type=_DIRECTORY)
@json_option
def keygen(directory: Path, as_json: bool) -> None:
    """Make keys for both roles, and a trust store that believes them.

    Writes list.key, list.pub, package.key, package.pub and trust/trust.json into DIRECTORY; never
    over an existing file. Keep the .key files away from machines that boot.
    """
    from . import signing

    made = signing.generate(directory)
    if as_json:
        console.show_json([str(path) for path in made])
    else:
        for path in made:
            print(path)


@cli.command()
@click.argument("file", type=_FILE)
@click.option("--key", type=_FILE, required=True, help="Private key; public with --sign-command.")
@click.option("--sign-command", default="", metavar="COMMAND", help="Program that signs.")
def sign(file: Path, key: Path, sign_command: str) -> None:
    """Add a signature to a list or manifest FILE (a DSSE envelope)."""
    from bootunion import dsse, systemlist

    from . import signing
    from .store import write_atomic

    try:
        data = file.read_bytes() if file.stat().st_size <= systemlist.MAX_SIZE else b""
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise BootunionError("file-missing", text, subject=str(file)) from None
    envelope = dsse.decode(data, subject=str(file))
    signed = signing.add_signature(envelope, Signer(key, sign_command))
    write_atomic(file, signed.encode())
    print(f"{file}: {len(signed.signatures)} signature(s)")


@cli.command()
@click.argument("list_name", metavar="LIST")
@click.option("--generation", type=click.IntRange(1), default=None, help="Not the current one.")
@store_option
@trust_option
@json_option
def verify(list_name: str, generation: int | None, store_path: Path, trust_path: Path,
           as_json: bool) -> None:  # fmt: skip
    """Check LIST: its signature, every manifest and every block of every package."""
    from . import planview, signing, verifying

    store, trusted = Store(store_path), signing.read_trust(trust_path)
    system, _ = planview.read_list(store, trusted, list_name, generation or 0)
    with console.progress() as reporter:
        reporter.stage("verifying packages", len(system.layers))
        verdicts = verifying.verify(store, trusted, system, reporter.step)
    bad = [one for one in verdicts if one.error is not None]
    if as_json:
        console.show_json({
            "list": system.name, "generation": system.generation, "packages": len(verdicts),
            "bad": [one.error.as_json() for one in bad if one.error],
        })  # fmt: skip
    else:
        for one in bad:
            assert one.error is not None
            print(f"bad: {one.package}: {one.error.message} [{one.error.code}]")
        whole = len(verdicts) - len(bad)
        print(f"{list_name} generation {system.generation}: {whole} packages whole, {len(bad)} bad")
    if bad:
        sys.exit(EXIT_UNTRUSTED)


@cli.command()
@click.argument("directory", type=_DIRECTORY)
@click.option("--name", required=True, help="The package's name.")
@click.option("--version", required=True, help="The package's version.")
@click.option("--architecture", default="all", show_default=True)
@click.option("--description", default="", help="One line.")
@click.option("--keep-owner", is_flag=True, help="Keep owners; otherwise all is root's.")
@store_option
@package_key_options
@json_option
def build(directory: Path, name: str, version: str, architecture: str, description: str,
          keep_owner: bool, store_path: Path, package_key: Path, sign_command: str,
          as_json: bool) -> None:  # fmt: skip
    """Make a package of DIRECTORY and put it into the store."""
    from . import build as building
    from . import packaging

    about = packaging.Description(name, version, architecture, description).check()
    members = building.members(directory, keep_owner=keep_owner)
    made = packaging.write_package(
        Store(store_path).create(), members, about, None, Signer(package_key, sign_command)
    )
    _show_packages([made], as_json)


@cli.group(name="import")
def import_group() -> None:
    """Turn a distribution's packages into packages of the store."""


@import_group.command(name="deb")
@click.argument("files", type=_FILE, nargs=-1, required=True)
@click.option("--jobs", type=click.IntRange(1), default=None, help="At once (default: all cores).")
@store_option
@package_key_options
@json_option
def import_deb(files: tuple[Path, ...], jobs: int | None, store_path: Path, package_key: Path,
               sign_command: str, as_json: bool) -> None:  # fmt: skip
    """Import .deb FILES, several at once. No root is needed and nothing is lost."""
    from . import importer

    store = Store(store_path).create()
    with console.progress() as reporter:
        reporter.stage("importing packages", len(files))
        made = importer.import_debs(
            files, store, Signer(package_key, sign_command), reporter.step, jobs=jobs or 0
        )
    _show_packages(made, as_json)


def _show_packages(made: list[Any], as_json: bool) -> None:
    if as_json:
        console.show_json([json.loads(one.encode()) for one in made])
        return
    rows = [[one.name, one.version, console.human_size(one.image.size), one.image.root_hash]
            for one in made]  # fmt: skip
    console.show_table("packages", ["package", "version", "size", "root hash"], rows,
                       right=("size",))  # fmt: skip


@cli.command()
@click.argument("system_yaml", type=_FILE)
@click.option("--keys", type=_DIRECTORY, required=True, envvar="BOOTUNION_KEYS", show_envvar=True,
              help="Directory made by `bootunion keygen`.")  # fmt: skip
@click.option("--cache", type=_DIRECTORY, default=Path("~/.cache/bootunion"), show_default=True,
              help="Where apt's downloads are kept.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1), default=None, help="At once (default: all cores).")
@store_option
@json_option
def compose(system_yaml: Path, keys: Path, cache: Path, jobs: int | None, store_path: Path,
            as_json: bool) -> None:  # fmt: skip
    """Compose the next generation of the list that SYSTEM_YAML describes.

    apt resolves and downloads in a private root, the .debs become packages, their maintainer
    scripts run once over the union, what they wrote becomes the generated layer, and the list of
    all is signed. Needs root, for it mounts file systems in a namespace of its own.
    """
    from . import composing, signing, systemyaml

    system = systemyaml.read(system_yaml)
    shop = composing.Workshop(
        Store(store_path), cache.expanduser(), Signer(keys / "package.key"),
        Signer(keys / "list.key"), signing.read_trust(keys / "trust"), jobs or 0,
    )  # fmt: skip
    with console.progress() as reporter:
        done = composing.compose(system, shop, composing.Progress(reporter.stage, reporter.step))
    if as_json:
        console.show_json(json.loads(done.encode()))
    else:
        print(f"list {done.name} generation {done.generation}: {len(done.layers)} packages, "
              f"kernel {done.kernel or 'any'}")  # fmt: skip


@cli.command()
@click.argument("list_name", metavar="LIST")
@click.option("--generation", type=click.IntRange(1), default=None, help="Not the current one.")
@click.option("--kernel", default="", metavar="RELEASE", help="Plan for this kernel release.")
@click.option("--operations", is_flag=True, help="Show exactly what the agent will do.")
@store_option
@trust_option
@json_option
def plan(list_name: str, generation: int | None, kernel: str, operations: bool, store_path: Path,
         trust_path: Path, as_json: bool) -> None:  # fmt: skip
    """Show LIST's root before it exists: layers, costs, what is hidden, what would fail.

    Ends with 5 when the root would not boot.
    """
    from . import planview, signing

    trusted = signing.read_trust(trust_path)
    found = planview.preview(Store(store_path), trusted, list_name, generation or 0, kernel)
    if operations:
        planview.show_operations(found, as_json)
    elif as_json:
        console.show_json(planview.as_json(found))
    else:
        planview.show(found)
    if not found.boots:
        sys.exit(EXIT_PLAN)


@cli.command(name="initramfs-files")
@click.option("--python", type=_FILE, default=Path("/usr/bin/python3"), show_default=True,
              help="The interpreter that goes into the initramfs.")  # fmt: skip
@click.option("--install", "target", type=_DIRECTORY, default=None,
              help="Copy the files below this directory instead of printing them.")  # fmt: skip
@json_option
def initramfs_files(python: Path, target: Path | None, as_json: bool) -> None:
    """Print the files that the agent needs in an initramfs: source, tab, destination.

    They come from a real import by that interpreter, in the mode in which it boots.
    """
    from . import closure

    closure.command(python, target, as_json)


@cli.command()
@click.argument("list_name", metavar="LIST")
@click.option("--generation", type=click.IntRange(1), default=None, help="Not the current one.")
@click.option("--output", type=_FILE, required=True, help="The image to write.")
@click.option("--kernel-output", type=_FILE, default=None, help="Write the list's kernel here.")
@click.option("--plain", is_flag=True, help="Without systemd in the initramfs.")
@click.option("--without-agent", is_flag=True, help="Leave bootunion out, to compare sizes.")
@click.option("--drivers", default="", help="Only these kernel modules (default: a generic set).")
@store_option
@trust_option
def initramfs(list_name: str, generation: int | None, output: Path, kernel_output: Path | None,
              plain: bool, without_agent: bool, drivers: str, store_path: Path,
              trust_path: Path) -> None:  # fmt: skip
    """Make LIST's initramfs with the list's own dracut, inside the list's own root.

    The list must hold dracut, bootunion, python3-cryptography and a kernel. Needs root.
    """
    from . import initramfs as making
    from . import planview, signing

    store, trusted = Store(store_path), signing.read_trust(trust_path)
    system, _ = planview.read_list(store, trusted, list_name, generation or 0)
    with console.progress() as reporter:
        reporter.stage("making the initramfs with dracut", 0)
        making.make(store, system, making.Wanted(
            output, trust_path / trust.FILE_NAME, kernel_output, plain, not without_agent, drivers
        ))  # fmt: skip
    print(f"{output}: {console.human_size(output.stat().st_size)}")


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
