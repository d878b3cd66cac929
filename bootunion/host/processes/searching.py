"""Where packages lie: the stores of the search path, each with the keys that it is believed for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bootunion import trust
from bootunion.errors import BootunionError
from bootunion.process import Pick
from bootunion.systemlist import Layer

from .. import places as locations
from .. import signing
from ..store import Store


class Place(NamedTuple):
    """A store, and the trust store whose keys its manifests and lists need."""

    store: Store
    trusted: trust.Trust


def user_store() -> Path:
    """Where a person's own packages lie: `$XDG_CACHE_HOME/bootunion`, by default in ~/.cache."""
    return locations.cache(os.environ)


def user_keys() -> Path:
    """Where a person's own keys and trust store lie, by default ~/.config/bootunion."""
    return locations.config(os.environ)


def places(store: Path, trust_path: Path) -> tuple[Place, ...]:
    """The search path: the person's own store, then the system's; those that there are.

    Raises BootunionError store-missing when there is neither, trust-invalid …
    """
    found = []
    own, anchor = user_store(), user_keys() / "trust"
    if (own / "packages").is_dir() and (anchor / trust.FILE_NAME).exists():
        found.append(Place(Store(own), signing.read_trust(anchor, own)))
    if (store / "packages").is_dir():
        found.append(Place(Store(store), signing.read_trust(trust_path, store)))
    if not found:
        text = f"there is no store, nor one of your own at {own}"
        raise BootunionError("store-missing", text, subject=str(store))
    return tuple(found)


def locate(layer: Layer, search: Sequence[Place]) -> Pick | None:
    """The first store that has a package's image; which bytes it holds the root hash decides."""
    for number, place in enumerate(search):
        try:
            size = (place.store.packages / layer.file_name).stat().st_size
        except OSError:
            continue
        if size == layer.image.size:
            return Pick(layer, number)
    return None
