"""RECORD: the digest and size of each file of a wheel (packaging.python.org, PEP 376 and 627)."""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
from collections.abc import Iterable
from typing import NamedTuple

# PEP 427: "The hash algorithm must be sha256 or better".
_ALGORITHMS = {"sha256": 32, "sha384": 48, "sha512": 64}


class Recorded(NamedTuple):
    """What RECORD says of a file; `size` (bytes) is -1 where it does not say."""

    algorithm: str
    digest: bytes
    size: int

    def begin(self) -> hashlib._Hash:
        """A state that the file's bytes are added to."""
        return hashlib.new(self.algorithm)

    @classmethod
    def of(cls, data: bytes) -> Recorded:
        """The entry of a file that has just been made."""
        return cls("sha256", hashlib.sha256(data).digest(), len(data))


def parse(data: bytes) -> dict[str, Recorded | None]:
    """The entries by path; None for one without a digest. Raises ValueError."""
    found: dict[str, Recorded | None] = {}
    try:
        for row in csv.reader(io.StringIO(data.decode("utf-8"), newline="")):
            if not row:
                continue
            if len(row) != 3:
                raise ValueError(f"a line has {len(row)} fields instead of 3")
            path, digest, size = row
            if path in found:
                raise ValueError(f"{path!r} stands twice")
            found[path] = _recorded(path, digest, size) if digest else None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"it cannot be read: {error}") from None
    return found


def _recorded(path: str, digest: str, size: str) -> Recorded:
    algorithm, _, text = digest.partition("=")
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"{path!r} has the digest {algorithm!r}; sha256 or better is asked for")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _ALGORITHMS[algorithm] or not (size.isdecimal() or not size):
        raise ValueError(f"{path!r} has no digest or no size: {digest[:80]!r}, {size[:20]!r}")
    return Recorded(algorithm, raw, int(size) if size else -1)


def encode(entries: Iterable[tuple[str, Recorded | None]]) -> bytes:
    """RECORD's bytes, sorted by path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for path, one in sorted(entries):
        digest = base64.urlsafe_b64encode(one.digest).decode().rstrip("=") if one else ""
        writer.writerow((path, f"{one.algorithm}={digest}", one.size) if one else (path, "", ""))
    return text.getvalue().encode("utf-8", "surrogateescape")
