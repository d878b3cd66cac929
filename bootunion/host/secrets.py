"""What must be each machine's own and so is never part of a package that all machines share."""

from __future__ import annotations

import re
from pathlib import Path

from bootunion.errors import BootunionError

from . import build

MADE_AT_BOOT = (
    "etc/ssh/ssh_host_*",  # by bootunion-host-keys.service (see `generated`)
    "var/lib/NetworkManager/secret_key",
    "var/lib/dbus/machine-id",  # by dbus's tmpfiles.d: a symlink to /etc/machine-id
    "var/lib/systemd/credential.secret",
    "var/lib/systemd/random-seed",
    "var/lib/urandom/random-seed",
)
"""Taken out: whoever uses the file makes it again when it is missing."""

_MADE_ONCE = (
    "etc/bind/rndc.key",
    "etc/iscsi/initiatorname.iscsi",
    "etc/krb5.keytab",
    "etc/munge/munge.key",
    "etc/mysql/debian.cnf",
    "etc/nvme/hostid",
    "var/lib/samba/private/*.tdb",
    "var/lib/tor/keys/*",
)
"""Refused when not empty: a maintainer script makes it once and a machine could not go on without
it, so the person has to say (with a command in the system.yaml) what shall be there instead."""

# A label alone is no key: ssh-agent, gpg and python3-cryptography hold the labels as text. A key has
# lines of base64 below it, perhaps after headers such as Proc-Type (RFC 1421, RFC 7468, RFC 4880).
_PRIVATE_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----[ \t]*\r?\n"
    rb"(?:[A-Za-z-]+: [^\r\n]{0,200}\r?\n|[ \t]+[^\r\n]{0,200}\r?\n|\r?\n)*"
    rb"[ \t]*[A-Za-z0-9+/]{16}"
)
_LABEL = b"PRIVATE KEY"
_CHUNK = 1 << 20
_OVERLAP = 4096  # more than a label, its headers and the first line of base64 take


def refuse(tree: Path) -> None:
    """Check that no file of a tree holds a private key or a secret that is made only once.

    Raises BootunionError secret-found, naming the file.
    """
    for pattern in _MADE_ONCE:
        for path in sorted(tree.glob(pattern)):
            if path.is_file() and not path.is_symlink() and path.stat().st_size:
                raise _found(path.relative_to(tree), "is a secret that a script made")
    for name in build.walk(tree):
        path = tree / name
        if not path.is_symlink() and path.is_file() and holds_private_key(path):
            raise _found(Path(name), "holds a private key")


def holds_private_key(path: Path) -> bool:
    """Whether a private key in PEM, or in OpenPGP's armour, is anywhere in the file."""
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            data = tail + chunk
            if _LABEL in data and _PRIVATE_KEY.search(data):
                return True
            tail = data[-_OVERLAP:]
    return False


def _found(path: Path, what: str) -> BootunionError:
    text = f"/{path} {what}; every machine would share it"
    return BootunionError("secret-found", text, subject=f"/{path}")
