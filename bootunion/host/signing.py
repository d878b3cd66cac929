"""Making keys and signatures; the private key may be a file or out of reach behind a program."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from bootunion import dsse, signature, trust
from bootunion.dsse import Envelope, Signature
from bootunion.errors import BootunionError

from . import run
from .store import sync_directory, write_atomic

_MAX_KEY = 1 << 16


@dataclass(frozen=True)
class Signer:
    """Signs with a private key file, or with `command` for the public key file `key`.

    The command gets the bytes to sign (DSSE's pre-authentication encoding) on its standard input
    and writes the raw signature, 64 bytes, to its standard output: an HSM, a token or a cloud key
    is one small script away.
    """

    key: Path
    command: str = ""

    def sign(self, message: bytes) -> Signature:
        """The signature over `message`. Raises BootunionError key-invalid, program-failed."""
        pem = read_key(self.key)
        if not self.command:
            public, value = signature.sign(pem, message, subject=str(self.key))
            return Signature(signature.key_id(public), value)
        public = signature.public_from_pem(pem.decode(errors="replace"), subject=str(self.key))
        argv = shlex.split(self.command)
        value = run.run(argv, input=message, what="signing").stdout
        if not signature.verifies(public, value, message):
            text = f"the signing command's answer is no signature by {self.key.name}"
            raise BootunionError("signature-invalid", text, subject=argv[0])
        return Signature(signature.key_id(public), value)

    def __call__(self, payload: bytes, payload_type: str) -> bytes:
        """The DSSE envelope of a payload with this one signature."""
        message = dsse.pre_authentication(payload_type, payload)
        return Envelope(payload_type, payload, (self.sign(message),)).encode()


def add_signature(envelope: Envelope, signer: Signer) -> Envelope:
    """The envelope with one more signature, in place of an earlier one by the same key."""
    one = signer.sign(dsse.pre_authentication(envelope.payload_type, envelope.payload))
    others = tuple(old for old in envelope.signatures if old.key_id != one.key_id)
    return envelope._replace(signatures=(*others, one))


def read_key(path: Path) -> bytes:
    """A key file's bytes. Raises BootunionError file-missing, key-invalid."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_KEY + 1)
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise BootunionError("file-missing", text, subject=str(path)) from None
    if len(data) > _MAX_KEY:
        raise BootunionError("key-invalid", "is too large for a key", subject=str(path))
    return data


def generate(directory: Path) -> list[Path]:
    """Make a key pair for each role and a trust store that believes them.

    Writes `list.key`, `list.pub`, `package.key`, `package.pub` and `trust/trust.json`; never over
    an existing file. Raises BootunionError exists.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = [
        directory / f"{role}.{kind}" for role in trust.PAYLOAD_TYPES for kind in ("key", "pub")
    ]
    store = directory / "trust"
    for path in (*paths, store / trust.FILE_NAME):
        if path.exists():
            raise BootunionError("exists", "keys are never overwritten", subject=str(path))
    keys: dict[str, bytes] = {}
    roles = {}
    for role in trust.PAYLOAD_TYPES:
        private, public = signature.generate()
        _write_private(directory / f"{role}.key", private)
        write_atomic(directory / f"{role}.pub", signature.public_to_pem(public).encode())
        keys[signature.key_id(public)] = public
        roles[role] = trust.Role((signature.key_id(public),), 1)
    store.mkdir(exist_ok=True)
    write_atomic(store / trust.FILE_NAME, trust.Trust(keys, roles).encode())
    return [*paths, store / trust.FILE_NAME]


def _write_private(path: Path, data: bytes) -> None:
    # Created with its final mode: at no moment can anybody else read it.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    sync_directory(path.parent)


def read_trust(directory: Path) -> trust.Trust:
    """The trust store in `directory`. Raises BootunionError trust-invalid, file-missing."""
    path = directory / trust.FILE_NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise BootunionError("file-missing", text, subject=str(path)) from None
    if len(data) > trust.MAX_SIZE:
        raise BootunionError("trust-invalid", "is too large", subject=str(path))
    return trust.decode(data, subject=str(path))
