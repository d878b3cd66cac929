"""Reads lists and manifests from a store, as the agent would: nothing unsigned is believed."""

from __future__ import annotations

from bootunion import systemlist, trust
from bootunion.errors import BootunionError
from bootunion.manifest import Manifest
from bootunion.opening import open_list, open_manifest
from bootunion.systemlist import Layer, SystemList

from .store import Store

__all__ = ["open_list", "open_manifest", "read_list", "read_manifest", "signed_manifest"]


def read_list(
    store: Store, trusted: trust.Trust, name: str, generation: int
) -> tuple[SystemList, tuple[str, ...]]:
    """A list whose signature holds, and its signers' key ids; generation 0 is the current one.

    Raises BootunionError as the agent would.
    """
    data, found = store.list_bytes(name, generation)
    subject = f"lists/{name}/{found}.json"
    system, signers = open_list(data, trusted, subject=subject)
    systemlist.check_place(system, name, found, subject=subject)
    return system, signers


def read_manifest(store: Store, trusted: trust.Trust, layer: Layer) -> Manifest:
    """The manifest of a layer, checked against its signature and the list."""
    described = signed_manifest(store, trusted, layer.stem)
    if not described.image.agrees(layer.image):
        text = "the manifest and the list differ about the image"
        raise BootunionError("manifest-mismatch", text, subject=layer.stem)
    return described


def signed_manifest(store: Store, trusted: trust.Trust, stem: str) -> Manifest:
    """The manifest stored for `stem`, checked against its signature and its name."""
    return open_manifest(store.envelope(stem), trusted, stem)
