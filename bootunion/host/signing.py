"""Making keys and signatures; the private key may be a file or out of reach behind a program."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from pathlib import Path

from bootunion import dsse, signature, trust
from bootunion.dsse import Envelope, Signature
from bootunion.errors import BootunionError
from bootunion.initrd.store import Store as Reader

from . import bounded
from .store import sync_directory, write_atomic

_MAX_KEY = 1 << 16


class Signer:
    """Signs with a private key file, or with `command` for the public key file `key`.

    The command gets the bytes to sign (DSSE's pre-authentication encoding) on its standard input
    and writes the raw signature, 64 bytes, to its standard output: an HSM, a token or a cloud key
    is one small script away.
    """

    def __init__(self, key: Path, command: str = "") -> None:
        self.key = key
        self.command = command
        # Here and not where the key is read: importing reads it in many processes.
        if not command:
            _warn_if_open(key)

    def sign(self, message: bytes) -> Signature:
        """The signature over `message`. Raises BootunionError key-invalid, program-failed."""
        pem = read_key(self.key)
        if not self.command:
            public, value = signature.sign(pem, message, subject=str(self.key))
            return Signature(signature.key_id(public), value)
        public = signature.public_from_pem(pem.decode(errors="replace"), subject=str(self.key))
        import shlex  # noqa: PLC0415 - for who signs with a program of their own

        from . import run  # noqa: PLC0415

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


def _warn_if_open(key: Path) -> None:
    with contextlib.suppress(OSError):
        mode = stat.S_IMODE(key.stat().st_mode)
        if mode & 0o077:
            import shlex  # noqa: PLC0415

            text = f"{key} is open to others (mode {mode:04o}); chmod 600 {shlex.quote(str(key))}"
            print(f"bootunion: warning: {text}", file=sys.stderr)


def add_signature(envelope: Envelope, signer: Signer) -> Envelope:
    """The envelope with one more signature, in place of an earlier one by the same key."""
    one = signer.sign(dsse.pre_authentication(envelope.payload_type, envelope.payload))
    others = tuple(old for old in envelope.signatures if old.key_id != one.key_id)
    return envelope._replace(signatures=(*others, one))


def read_key(path: Path) -> bytes:
    """A key file's bytes. Raises BootunionError file-missing, key-invalid."""
    return bounded.read(path, _MAX_KEY, large="key-invalid", too_large="is too large for a key")


def generate(directory: Path, version: int = 1) -> list[Path]:
    """Make a key pair for each role and the first version of a trust store that believes them.

    Writes `<role>.key` and `<role>.pub` for root, list and package, and `trust/trust.json`, which
    the root key signs, with a copy as `trust/<version>.json`; never over an existing file, and
    nothing stays when it does not come to an end. Raises BootunionError exists.
    """
    directory.mkdir(parents=True, exist_ok=True)
    store = directory / "trust"
    names = [f"{role}.{kind}" for role in trust.PAYLOAD_TYPES for kind in ("key", "pub")]
    paths = [directory / name for name in names]
    paths += [store / f"{version}.json", store / trust.FILE_NAME]
    for path in paths:
        if path.exists():
            raise BootunionError("exists", "keys are never overwritten", subject=str(path))
    try:
        _generate(directory, store, version)
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        raise
    return paths


def _generate(directory: Path, store: Path, version: int) -> None:
    keys: dict[str, bytes] = {}
    roles = {}
    for role in trust.PAYLOAD_TYPES:
        private, public = signature.generate()
        _write_private(directory / f"{role}.key", private)
        write_atomic(directory / f"{role}.pub", signature.public_to_pem(public).encode())
        keys[signature.key_id(public)] = public
        roles[role] = trust.Role((signature.key_id(public),), 1)
    root = Signer(directory / f"{trust.ROLE_ROOT}.key")
    envelope = root(trust.Trust(keys, roles, version).encode(), trust.PAYLOAD_TYPE)
    store.mkdir(exist_ok=True)
    write_atomic(store / f"{version}.json", envelope)
    write_atomic(store / trust.FILE_NAME, envelope)


def _write_private(path: Path, data: bytes) -> None:
    # Created with its final mode: at no moment can anybody else read it.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    sync_directory(path.parent)


def read_trust(directory: Path, store: Path | None = None) -> trust.Trust:
    """What a machine with the anchor in `directory` believes when it boots from `store`.

    At boot a refused version is told and stepped over; here it is raised, for there is somebody
    who can mend it. Raises BootunionError as `trust.load` does.
    """
    found = read_chain(directory, store)
    for refusal in found.refusals:
        raise refusal
    return found.trust


def read_chain(directory: Path, store: Path | None = None) -> trust.Chain:
    """As `read_trust`, with the refused versions: those of `store`, then those beside the anchor.

    Raises BootunionError as `trust.load` does.
    """
    path = directory / trust.FILE_NAME
    try:
        with path.open("rb") as file:
            data = file.read(trust.MAX_SIZE + 1)
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise BootunionError("file-missing", text, subject=str(path)) from None
    readers = [version_reader(directory)]
    if store is not None:
        readers.insert(0, version_reader(store / trust.DIRECTORY))
    return trust.load(data, readers, seen=trust.NOTHING, now=int(time.time()), subject=str(path))


def version_reader(directory: Path) -> trust.ReadVersion:
    """Reads the versions of a trust store that lie in `directory`."""

    def read(version: int) -> bytes:
        with Reader(str(directory)) as reader:
            return reader.read(f"{version}.json", limit=trust.MAX_SIZE)

    return read
