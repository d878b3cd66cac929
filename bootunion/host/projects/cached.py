"""What of the user's store was made of which wheel, and for which interpreter.

One small file for each wheel and layout, `wheels/<SHA-256>-<layout>`, holds the package's stem.
Whether the package is right its signed manifest says.
"""

from __future__ import annotations

from pathlib import Path

from bootunion import package, trust
from bootunion.errors import BootunionError
from bootunion.manifest import Manifest

from .. import reading
from ..store import Store, write_atomic

_MOST = 512  # bytes of a stem


def find(store: Store, trusted: trust.Trust, sha256: str, layout: str) -> Manifest | None:
    """The package that was made of a wheel for a layout, if it is there and whole."""
    try:
        # Of a wheel's digests, one for each platform, most were never imported: each costs little.
        with open(f"{store.path}/wheels/{sha256}-{layout}", "rb") as file:
            stem = file.read(_MOST).decode("ascii").strip()
        if not package.FILE_NAME.match(stem):
            return None
        described = reading.signed_manifest(store, trusted, stem)
        size = (store.packages / described.file_name).stat().st_size
    except (OSError, ValueError, BootunionError):
        return None
    if described.source.sha256 != sha256 or size != described.image.size:
        return None
    return described


def note(store: Store, made: Manifest, layout: str) -> None:
    """Note what a package was made of."""
    place = _place(store, made.source.sha256, layout)
    place.parent.mkdir(exist_ok=True)
    write_atomic(place, f"{made.stem}\n".encode("ascii"))


def _place(store: Store, sha256: str, layout: str) -> Path:
    return store.path / "wheels" / f"{sha256}-{layout}"
