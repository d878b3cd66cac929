"""Opens what is signed: an envelope's bytes in, a document whose signature holds out."""

from __future__ import annotations

from . import dsse, manifest, systemlist, trust
from .dsse import Envelope
from .manifest import Manifest
from .systemlist import SystemList


def open_list(
    data: bytes, trusted: trust.Trust, *, subject: str
) -> tuple[SystemList, tuple[str, ...]]:
    """The list in an envelope's bytes and its signers' key ids; where it lies is not checked.

    Raises BootunionError as the agent would.
    """
    envelope = dsse.decode(data, subject=subject)
    payload, signers = trust.open_envelope(trusted, trust.ROLE_LIST, envelope, subject=subject)
    return systemlist.decode(payload, subject=subject), signers


def open_manifest(envelope: Envelope, trusted: trust.Trust, stem: str) -> Manifest:
    """The manifest in an envelope, checked against its signature and the name it is stored by.

    Raises BootunionError as `trust.open_envelope` and `manifest.decode`, and manifest-mismatch.
    """
    payload, _ = trust.open_envelope(trusted, trust.ROLE_PACKAGE, envelope, subject=stem)
    described = manifest.decode(payload, subject=stem)
    manifest.check_stem(described, stem)
    return described
