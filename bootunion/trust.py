"""The trust store: which keys may sign what, and how many of them are needed.

It is one file, `trust.json`, in the initramfs; never in the store. Rules, in the order in which
`open_envelope` applies them:

1. The envelope's type is the one of the role: a list never passes for a manifest.
2. Signatures by keys that do not have the role do not count, whatever else they sign.
3. A key counts once, however often it signed.
4. A signature that names a key of the role and does not verify refuses the envelope: a damaged
   signature is a damaged file, not a missing vote.
5. At least `threshold` keys must be left.
"""

from __future__ import annotations

from typing import NamedTuple

from . import canonical, dsse, manifest, signature, systemlist
from .errors import BootunionError
from .fields import Fields

SCHEMA = 1
FILE_NAME = "trust.json"
MAX_SIZE = 1 << 20
MAX_KEYS = 256
ROLE_LIST = "list"
ROLE_PACKAGE = "package"
PAYLOAD_TYPES = {ROLE_LIST: systemlist.PAYLOAD_TYPE, ROLE_PACKAGE: manifest.PAYLOAD_TYPE}
_CODE = "trust-invalid"


class Role(NamedTuple):
    """The keys of one role and how many of them must have signed."""

    key_ids: tuple[str, ...]
    threshold: int


class Trust(NamedTuple):
    """What a machine believes: raw public keys by key id, and the roles."""

    keys: dict[str, bytes]
    roles: dict[str, Role]

    def encode(self) -> bytes:
        """The trust store as it stands in `trust.json`."""
        return canonical.encode(
            {
                "schema": SCHEMA,
                "keys": [signature.public_to_pem(public) for public in self.keys.values()],
                "roles": {
                    name: {"keys": list(role.key_ids), "threshold": role.threshold}
                    for name, role in self.roles.items()
                },
            }
        )


def decode(data: bytes, *, subject: str) -> Trust:
    """The trust store in `data`. Raises BootunionError trust-invalid or key-invalid."""
    fields = Fields(
        canonical.decode(data, subject=subject, code=_CODE), code=_CODE, subject=subject
    )
    fields.integer("schema", SCHEMA, SCHEMA)
    keys = {}
    for pem in fields.texts("keys", most=MAX_KEYS):
        public = signature.public_from_pem(pem, subject=subject)
        keys[signature.key_id(public)] = public
    role_fields = fields.object("roles")
    roles = {name: _role(role_fields, name, keys) for name in PAYLOAD_TYPES}
    role_fields.done()
    fields.done()
    return Trust(keys, roles)


def _role(fields: Fields, name: str, keys: dict[str, bytes]) -> Role:
    role = fields.object(name)
    key_ids = role.texts("keys", most=MAX_KEYS)
    threshold = role.integer("threshold", 1, MAX_KEYS)
    role.done()
    if len(set(key_ids)) < threshold:
        raise fields.wrong("has fewer keys than its threshold", name)
    for key_id in key_ids:
        if key_id not in keys:
            raise fields.wrong(f"names the key {key_id[:16]} that is not in the trust store", name)
    return Role(key_ids, threshold)


def open_envelope(
    trust: Trust, role_name: str, envelope: dsse.Envelope, *, subject: str
) -> tuple[bytes, tuple[str, ...]]:
    """The payload of an envelope that `role_name` signed, and the ids of the keys that did.

    Raises BootunionError envelope-invalid, signature-invalid or signature-untrusted.
    """
    dsse.check_type(envelope, PAYLOAD_TYPES[role_name], subject=subject)
    role = trust.roles[role_name]
    message = dsse.pre_authentication(envelope.payload_type, envelope.payload)
    signers: list[str] = []
    for one in envelope.signatures:
        if one.key_id not in role.key_ids or one.key_id in signers:
            continue
        if not signature.verifies(trust.keys[one.key_id], one.value, message):
            raise BootunionError(
                "signature-invalid",
                f"the signature by key {one.key_id[:16]} does not fit the signed bytes",
                subject=subject,
            )
        signers.append(one.key_id)
    if len(signers) < role.threshold:
        raise BootunionError(
            "signature-untrusted",
            f"signed by {len(signers)} trusted {role_name} signer(s), {role.threshold} needed",
            subject=subject,
        )
    return envelope.payload, tuple(signers)
