"""Keys and signatures."""

from __future__ import annotations

from pathlib import Path

import click

from bootunion.errors import BootunionError
from bootunion.host import console
from bootunion.host.signing import Signer

from .options import DIRECTORY, FILE, json_option


@click.command()
@click.argument("directory", type=DIRECTORY)
@json_option
def keygen(directory: Path, as_json: bool) -> None:
    """Make keys for both roles, and a trust store that believes them.

    Writes list.key, list.pub, package.key, package.pub and trust/trust.json into DIRECTORY; never
    over an existing file. Keep the .key files away from machines that boot.
    """
    from bootunion.host import signing

    made = signing.generate(directory)
    if as_json:
        console.show_json([str(path) for path in made])
    else:
        for path in made:
            print(path)


@click.command()
@click.argument("file", type=FILE)
@click.option("--key", type=FILE, required=True, help="Private key; public with --sign-command.")
@click.option("--sign-command", default="", metavar="COMMAND", help="Program that signs.")
def sign(file: Path, key: Path, sign_command: str) -> None:
    """Add a signature to a list or manifest FILE (a DSSE envelope)."""
    from bootunion import dsse, systemlist
    from bootunion.host import signing
    from bootunion.host.store import write_atomic

    try:
        data = file.read_bytes() if file.stat().st_size <= systemlist.MAX_SIZE else b""
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise BootunionError("file-missing", text, subject=str(file)) from None
    envelope = dsse.decode(data, subject=str(file))
    signed = signing.add_signature(envelope, Signer(key, sign_command))
    write_atomic(file, signed.encode())
    print(f"{file}: {len(signed.signatures)} signature(s)")
