"""DSSE envelopes: signed bytes with their type, and nothing between the two to interpret.

Format: the Dead Simple Signing Envelope protocol 1.0 (secure-systems-lab/dsse). Its
pre-authentication encoding binds the payload's type and both lengths, so that a signature over a
manifest can never pass for one over a list, nor one over a prefix for one over the whole.
"""

from __future__ import annotations

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
                "payload": _text(self.payload),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": one.key_id, "sig": _text(one.value)} for one in self.signatures
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


def _text(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode()


def _base64(fields: Fields, key: str, text: str) -> bytes:
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error, or a character that is not ASCII
        raise fields.wrong("is not base64", key) from None
    # base64 lets several texts stand for the same bytes, by the unused bits of the last four
    # characters; one is enough.
    if _text(raw[(len(raw) - 1) // 3 * 3 :]) != text[-4:]:
        raise fields.wrong("is not canonical base64", key)
    return raw


def check_type(envelope: Envelope, payload_type: str, *, subject: str) -> None:
    """Refuse an envelope that carries another kind of document (envelope-invalid)."""
    if envelope.payload_type != payload_type:
        raise BootunionError(
            _CODE, f"carries {envelope.payload_type[:80]!r}, not {payload_type!r}", subject=subject
        )
