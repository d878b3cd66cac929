"""Keys and signatures."""

from __future__ import annotations

from pathlib import Path

import click

from bootunion import trust
from bootunion.errors import BootunionError
from bootunion.host import console
from bootunion.host.signing import Signer

from .options import DIRECTORY, FILE, json_option


@click.command()
@click.argument("directory", type=DIRECTORY)
@click.option("--trust-version", type=click.IntRange(1, trust.MAX_VERSION), default=1,
              show_default=True, help="Number of the first version; when a lost trust store is "
              "replaced, higher than any that a machine has seen.")  # fmt: skip
@json_option
def keygen(directory: Path, trust_version: int, as_json: bool) -> None:
    """Make a key for each role, and the first version of a trust store that believes them.

    Writes root, list and package keys (.key and .pub) and trust/trust.json, which the root key
    signs, into DIRECTORY; never over an existing file. Keep the .key files away from machines that
    boot, and root.key off line: it is needed only to change the trust store (`bootunion trust`).
    """
    from bootunion.host import signing

    made = signing.generate(directory, trust_version)
    if as_json:
        console.show_json([str(path) for path in made])
    else:
        for path in made:
            print(path)


@click.command()
@click.argument("file", type=FILE)
@click.option("--key", type=FILE, required=True, help="Private key; public with --sign-command.")
@click.option("--sign-command", default="", metavar="COMMAND", help="Program that signs.")
@json_option
def sign(file: Path, key: Path, sign_command: str, as_json: bool) -> None:
    """Add a signature to FILE: a list, a manifest or the draft of a trust store.

    FILE is a DSSE envelope. The --sign-command gets the bytes to sign on its standard input and
    writes the 64-byte signature to its output; an HSM, a token or a cloud key is a script away.
    """
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
    if as_json:
        key_ids = [one.key_id for one in signed.signatures]
        console.show_json({"file": str(file), "type": signed.payload_type, "signatures": key_ids})
    else:
        print(f"{file}: {len(signed.signatures)} signature(s)")
