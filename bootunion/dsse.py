"""DSSE envelopes: signed bytes with their type, and nothing between the two to interpret.

Format: the Dead Simple Signing Envelope protocol 1.0 (secure-systems-lab/dsse). Its
pre-authentication encoding binds the payload's type and both lengths, so that a signature over a
manifest can never pass for one over a list, nor one over a prefix for one over the whole.
"""

from __future__ import annotations

import base64
import binascii

from . import canonical
from .errors import BootunionError
from .fields import HEX_DIGEST, Fields
from .values import NamedTuple

MAX_SIGNATURES = 64
_ED25519_SIZE = 64
_CODE = "envelope-invalid"


class Signature(NamedTuple):
    """One signature: `key_id` is 64 hex digits (see `trust`), `value` 64 raw bytes."""

    key_id: str
    value: bytes


class Envelope(NamedTuple):
    """A decoded envelope. Nothing in it is to be believed before `trust.open_envelope`."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """The envelope as it stands in a file."""
        return canonical.encode(
            {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": one.key_id, "sig": base64.b64encode(one.value).decode()}
                    for one in self.signatures
                ],
            }
        )


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed (DSSE's PAE)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def decode(data: bytes, *, subject: str) -> Envelope:
    """The envelope in `data`, whose size the caller has bounded.

    Raises BootunionError envelope-invalid.
    """
    fields = Fields(
        canonical.decode(data, subject=subject, code=_CODE), code=_CODE, subject=subject
    )
    payload_type = fields.text("payloadType")
    payload = _base64(fields, "payload", fields.text("payload", limit=len(data)))
    signatures = []
    for one in fields.objects("signatures", MAX_SIGNATURES):
        key_id = one.text("keyid", pattern=HEX_DIGEST, limit=64)
        value = _base64(one, "sig", one.text("sig"))
        if len(value) != _ED25519_SIZE:
            raise one.wrong(f"is not {_ED25519_SIZE} bytes", "sig")
        one.done()
        signatures.append(Signature(key_id, value))
    fields.done()
    return Envelope(payload_type, payload, tuple(signatures))


def _base64(fields: Fields, key: str, text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise fields.wrong("is not base64", key) from None
    # base64 lets several texts stand for the same bytes; one is enough.
    if base64.b64encode(raw).decode() != text:
        raise fields.wrong("is not canonical base64", key)
    return raw


def check_type(envelope: Envelope, payload_type: str, *, subject: str) -> None:
    """Refuse an envelope that carries another kind of document (envelope-invalid)."""
    if envelope.payload_type != payload_type:
        raise BootunionError(
            _CODE, f"carries {envelope.payload_type[:80]!r}, not {payload_type!r}", subject=subject
        )
