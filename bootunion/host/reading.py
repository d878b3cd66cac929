"""Reads lists and manifests from a store, as the agent would: nothing unsigned is believed."""

from __future__ import annotations

from bootunion import dsse, manifest, systemlist, trust
from bootunion.dsse import Envelope
from bootunion.errors import BootunionError
from bootunion.manifest import Manifest
from bootunion.systemlist import Layer, SystemList

from .store import Store


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


def open_list(
    data: bytes, trusted: trust.Trust, *, subject: str
) -> tuple[SystemList, tuple[str, ...]]:
    """The list in an envelope's bytes and its signers' key ids; where it lies is not checked.

    Raises BootunionError as the agent would.
    """
    envelope = dsse.decode(data, subject=subject)
    payload, signers = trust.open_envelope(trusted, trust.ROLE_LIST, envelope, subject=subject)
    return systemlist.decode(payload, subject=subject), signers


def read_manifest(store: Store, trusted: trust.Trust, layer: Layer) -> Manifest:
    """The manifest of a layer, checked against its signature and the list."""
    described = signed_manifest(store, trusted, layer.stem)
    if described.image != layer.image:
        text = "the manifest and the list differ about the image"
        raise BootunionError("manifest-mismatch", text, subject=layer.stem)
    return described


def signed_manifest(store: Store, trusted: trust.Trust, stem: str) -> Manifest:
    """The manifest stored for `stem`, checked against its signature and its name."""
    return open_manifest(store.envelope(stem), trusted, stem)


def open_manifest(envelope: Envelope, trusted: trust.Trust, stem: str) -> Manifest:
    """The manifest in an envelope, checked as `signed_manifest` does."""
    payload, _ = trust.open_envelope(trusted, trust.ROLE_PACKAGE, envelope, subject=stem)
    described = manifest.decode(payload, subject=stem)
    manifest.check_stem(described, stem)
    return described
