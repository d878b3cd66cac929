"""Finds private keys in files, whatever the files are called."""

from __future__ import annotations

import re
from pathlib import Path

# PEM (OpenSSL's kinds, OpenSSH's) and OpenPGP's armour: the line behind the first one tells a key
# from a program that knows the words. And libgcrypt's S-expressions, as GnuPG keeps keys.
_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    rb"[ \t]{0,8}\r?\n\s{0,8}[A-Za-z0-9+/]"
    rb"|\((?:\d{1,3}:)?(?:protected-)?private-key\s{0,8}\("
)
_LONGEST = 128  # bytes that the pattern can match, and more
_CHUNK = 1 << 20


def holds_private_key(path: Path) -> bool:
    """Whether a file has a private key anywhere in it."""
    rest = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if _KEY.search(rest + chunk):
                return True
            rest = (rest + chunk)[-_LONGEST:]
    return False
