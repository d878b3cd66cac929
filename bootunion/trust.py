"""The trust store: which keys may sign what, and how many of them are needed.

It is a chain of signed versions. The first one is `trust.json` in the initramfs, the anchor, which
the firmware's chain of trust covers; newer ones may lie in the store as `trust/<version>.json`. A
state machine without input or output, in the way of The Update Framework's root role. The rules, in
the order in which they are applied:

The anchor (`decode_anchor`)
 1. It is a DSSE envelope of the type of trust stores, and at most `MAX_SIZE` bytes.
 2. Its payload is in the form of `decode`: no odd, published or unknown key, and no key that has
    the root role and another.
 3. The threshold of its own root role has signed it: a half-signed draft is no anchor.

The next version (`advance`), after version N is believed
 4. It is bounded and an envelope as in 1. Of the payload no byte is parsed yet.
 5. The threshold of version N's root role has signed it.
 6. Its payload is in the form of `decode`, as in 2.
 7. Its version is exactly N + 1.
 8. It revokes all that version N revokes: revoking is for ever.
 9. The threshold of its own root role has signed it, too: new root keys show that they exist.

The walk (`follow`)
10. Rules 4 to 9 step by step, at most `MAX_STEPS` times, until no place has a version that passes.
    A refused one is told, but the versions before it stay believed: whoever can write to the store
    could as well have taken it away. Where versions lie in several places, the first that passes
    is taken.
11. The version that is reached is at least the highest that this machine has believed before, and
    a version of the store with that number is that very one: old root keys that were stolen after
    they were replaced cannot sign another. A withheld, damaged or replaced version ends here.
12. Only the version that is reached may not have expired; those on the way may.

A signed document (`open_envelope`)
13. The envelope's type is the one of the role: a list never passes for a manifest.
14. A signature counts when its key has the role and is not revoked; revoking wins over the role.
    The others do not count, whatever else they sign, and are not looked at.
15. A key counts once, however often it signed.
16. A signature that names a key that counts and does not verify refuses the whole envelope, however
    many others are right: a damaged signature is a damaged file, not a missing vote.
17. At least `threshold` keys must be left.
"""

from __future__ import annotations

from . import canonical, dsse, manifest, published, signature, systemlist
from .errors import BootunionError
from .fields import HEX_DIGEST, Fields
from .sha256 import hex_digest
from .values import NamedTuple

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    # Gives the bytes of a version, or None (or BootunionError file-missing) where there is none.
    ReadVersion = Callable[[int], bytes | None]

SCHEMA = 2
FILE_NAME = "trust.json"
DIRECTORY = "trust"
"""Directory of the store that holds the versions, as `<version>.json`."""

PAYLOAD_TYPE = "application/vnd.bootunion.trust+json"
MAX_SIZE = 1 << 20
"""Bytes of the largest version that is read."""

MAX_KEYS = 256
MAX_REVOKED = 4096
MAX_VERSION = (1 << 53) - 1  # JSON readers that use doubles agree up to here
MAX_TIME = 1 << 40
MAX_STEPS = 256
"""Versions that are followed at most: a bound on what a boot costs."""

ROLE_ROOT = "root"
ROLE_LIST = "list"
ROLE_PACKAGE = "package"
PAYLOAD_TYPES = {
    ROLE_ROOT: PAYLOAD_TYPE,
    ROLE_LIST: systemlist.PAYLOAD_TYPE,
    ROLE_PACKAGE: manifest.PAYLOAD_TYPE,
}
_CODE = "trust-invalid"


class Role(NamedTuple):
    """The keys of one role and how many of them must have signed."""

    key_ids: tuple[str, ...]
    threshold: int


class Trust(NamedTuple):
    """What a machine believes: raw public keys by key id, the roles, the key ids that never count.

    `expires` is in seconds since 1970, 0 means never.
    """

    keys: dict[str, bytes]
    roles: dict[str, Role]
    version: int = 1
    expires: int = 0
    revoked: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The payload that is signed."""
        return canonical.encode(
            {
                "schema": SCHEMA,
                "version": self.version,
                "expires": self.expires,
                "keys": [signature.public_to_pem(public) for public in self.keys.values()],
                "roles": {
                    name: {"keys": list(role.key_ids), "threshold": role.threshold}
                    for name, role in self.roles.items()
                },
                "revoked": list(self.revoked),
            }
        )

    @property
    def seen(self) -> Seen:
        """What a machine has to remember once it has believed this version."""
        return Seen(self.version, hex_digest(self.encode()))

    def counting(self, role_name: str) -> tuple[str, ...]:
        """The ids of the keys of a role that count: those that are not revoked."""
        return tuple(one for one in self.roles[role_name].key_ids if one not in self.revoked)


class Seen(NamedTuple):
    """What a machine remembers: the highest version it has believed, and that one's digest.

    0 and "" when it remembers nothing.
    """

    version: int = 0
    digest: str = ""


NOTHING = Seen()


class Chain(NamedTuple):
    """Where the walk ended: what is believed, and what was refused on the way or after it.

    Whoever gets refusals has to say them aloud.
    """

    trust: Trust
    refusals: tuple[BootunionError, ...]


def decode(payload: bytes, *, subject: str) -> Trust:
    """The trust store in a payload.

    Raises BootunionError trust-invalid, key-invalid or key-published.
    """
    fields = Fields(
        canonical.decode(payload, subject=subject, code=_CODE), code=_CODE, subject=subject
    )
    fields.integer("schema", SCHEMA, SCHEMA)
    version = fields.integer("version", 1, MAX_VERSION)
    expires = fields.integer("expires", 0, MAX_TIME)
    keys = {}
    for pem in fields.texts("keys", most=MAX_KEYS):
        public = signature.public_from_pem(pem, subject=subject)
        keys[_unpublished(signature.key_id(public), subject)] = public
    role_fields = fields.object("roles")
    roles = {name: _role(role_fields, name, keys) for name in PAYLOAD_TYPES}
    role_fields.done()
    revoked = fields.texts("revoked", most=MAX_REVOKED, limit=64)
    if not all(HEX_DIGEST.match(key_id) for key_id in revoked):
        raise fields.wrong("holds something else than key ids", "revoked")
    fields.done()
    for name in (ROLE_LIST, ROLE_PACKAGE):
        if not set(roles[ROLE_ROOT].key_ids).isdisjoint(roles[name].key_ids):
            raise role_fields.wrong("shares a key with the root role", name)
    return Trust(keys, roles, version, expires, revoked)


def _unpublished(key_id: str, subject: str) -> str:
    where = published.source(key_id)
    if where:
        text = f"everybody has the private key of {key_id[:16]}: it is published ({where})"
        raise BootunionError("key-published", text, subject=subject)
    return key_id


def _role(fields: Fields, name: str, keys: dict[str, bytes]) -> Role:
    role = fields.object(name)
    key_ids = role.texts("keys", most=MAX_KEYS, limit=64)
    threshold = role.integer("threshold", 1, MAX_KEYS)
    role.done()
    if len(set(key_ids)) != len(key_ids):
        raise fields.wrong("names a key twice", name)
    if len(key_ids) < threshold:
        raise fields.wrong("has fewer keys than its threshold", name)
    for key_id in key_ids:
        if key_id not in keys:
            raise fields.wrong(f"names the key {key_id[:16]} that is not in the trust store", name)
    return Role(key_ids, threshold)


def load(
    anchor: bytes, readers: Sequence[ReadVersion], *, seen: Seen, now: int, subject: str
) -> Chain:
    """What to believe: `anchor` (the bytes of trust.json) and what newer versions say.

    `readers` are the places where copies of the versions lie, the store's first. `seen` is what
    this machine remembers (the `seen` of what was believed at an earlier boot); `now` is the time
    to compare expiry with, in seconds since 1970. See `follow` for what is raised;
    `decode_anchor`'s refusals come, too.
    """
    first = decode_anchor(anchor, subject=subject)
    return follow(first, readers, seen=seen, now=now)


def decode_anchor(data: bytes, *, subject: str) -> Trust:
    """The trust store of the initramfs (rules 1 to 3).

    Raises BootunionError file-too-large, envelope-invalid, trust-invalid, key-invalid,
    key-published, signature-invalid or signature-untrusted.
    """
    envelope = _envelope(data, subject)
    dsse.check_type(envelope, PAYLOAD_TYPE, subject=subject)
    found = decode(envelope.payload, subject=subject)
    open_envelope(found, ROLE_ROOT, envelope, subject=subject)
    return found


def advance(current: Trust, data: bytes, *, subject: str) -> Trust:
    """The version after `current`, in the envelope `data` (rules 4 to 9).

    Raises as `decode_anchor`, and trust-misplaced.
    """
    envelope = _envelope(data, subject)
    payload, _ = open_envelope(current, ROLE_ROOT, envelope, subject=subject)
    found = decode(payload, subject=subject)
    if found.version != current.version + 1:
        text = f"is signed as version {found.version}, where {current.version + 1} comes next"
        raise BootunionError("trust-misplaced", text, subject=subject)
    forgotten = set(current.revoked).difference(found.revoked)
    if forgotten:
        text = f"takes back that the key {min(forgotten)[:16]} is revoked"
        raise BootunionError(_CODE, text, subject=subject)
    open_envelope(found, ROLE_ROOT, envelope, subject=subject)
    return found


def follow(
    anchor: Trust, readers: Sequence[ReadVersion], *, seen: Seen = NOTHING, now: int = 0
) -> Chain:
    """Walk from `anchor` to the newest version that is to be believed (rules 10 to 12).

    `now` 0 leaves expiry alone. Raises BootunionError trust-rolled-back or trust-expired.
    """
    current = anchor
    refusals: list[BootunionError] = []
    last = anchor.version + MAX_STEPS
    while (found := _step(current, last, readers, seen, refusals)) is not None:
        current = found
    if current.version < seen.version:
        because = f"; {refusals[-1]}" if refusals else ""
        text = f"version {current.version} is reached, {seen.version} was believed before{because}"
        raise BootunionError("trust-rolled-back", text, subject="trust store")
    if current.expires and now > current.expires:
        text = f"version {current.version} expired at {current.expires}, the clock says {now}"
        raise BootunionError("trust-expired", text, subject="trust store")
    return Chain(current, tuple(refusals))


def _step(
    current: Trust,
    last: int,
    readers: Sequence[ReadVersion],
    seen: Seen,
    refusals: list[BootunionError],
) -> Trust | None:
    """The next version from the first reader that has a right one; wrong ones go to `refusals`."""
    version = current.version + 1
    subject = f"{DIRECTORY}/{version}.json"
    for read in readers:
        try:
            data = read(version)
            if data is None:
                continue
            if version > last:
                text = f"is more than {MAX_STEPS} versions after the anchor"
                raise BootunionError("trust-too-far", text, subject=subject)
            found = advance(current, data, subject=subject)
            if found.version == seen.version and seen.digest and found.seen != seen:
                text = "is signed, but another one of this version was believed before"
                raise BootunionError("trust-forked", text, subject=subject)
            return found
        except BootunionError as error:
            if error.code != "file-missing":
                refusals.append(error)
    return None


def _envelope(data: bytes, subject: str) -> dsse.Envelope:
    if len(data) > MAX_SIZE:
        text = f"is larger than {MAX_SIZE} bytes"
        raise BootunionError("file-too-large", text, subject=subject)
    return dsse.decode(data, subject=subject)


def signers(
    trust: Trust, role_name: str, envelope: dsse.Envelope, *, subject: str
) -> tuple[str, ...]:
    """The ids of the keys that have signed and count for the role (rules 13 to 16).

    Raises BootunionError envelope-invalid or signature-invalid.
    """
    dsse.check_type(envelope, PAYLOAD_TYPES[role_name], subject=subject)
    counting = trust.counting(role_name)
    message = dsse.pre_authentication(envelope.payload_type, envelope.payload)
    found: dict[str, None] = {}
    for one in dict.fromkeys(envelope.signatures):
        if one.key_id not in counting:
            continue
        if not signature.verifies(trust.keys[one.key_id], one.value, message):
            raise BootunionError(
                "signature-invalid",
                f"the signature by key {one.key_id[:16]} does not fit the signed bytes",
                subject=subject,
            )
        found[one.key_id] = None
    return tuple(found)


def open_envelope(
    trust: Trust, role_name: str, envelope: dsse.Envelope, *, subject: str
) -> tuple[bytes, tuple[str, ...]]:
    """The payload of an envelope that `role_name` signed, and the ids of the keys that did.

    Raises BootunionError envelope-invalid, signature-invalid or signature-untrusted.
    """
    found = signers(trust, role_name, envelope, subject=subject)
    needed = trust.roles[role_name].threshold
    if len(found) < needed:
        revoked = [one.key_id[:16] for one in envelope.signatures if one.key_id in trust.revoked]
        but = f"; the key {revoked[0]} is revoked" if revoked else ""
        raise BootunionError(
            "signature-untrusted",
            f"signed by {len(found)} trusted {role_name} signer(s), {needed} needed{but}",
            subject=subject,
        )
    return envelope.payload, found
