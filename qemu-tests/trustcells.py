"""The matrix's cells about who signed: thresholds, revoked keys, versions of the trust store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tiny
from cellkinds import Cell, Edit, Files, refused
from tiny import Tiny

from bootunion import dsse, signature, trust
from bootunion.host.signing import Signer, add_signature
from bootunion.state import State
from bootunion.trust import Role, Trust

_BOTH = ((2, "signature-untrusted"), (1, "signature-untrusted"))


class Keys:
    """The store's keys, and a stranger's, as a trust store sees them."""

    def __init__(self, good: Tiny) -> None:
        self.good = good
        self.anchor = self.read(good.keys)
        self.stranger = self.read(good.directory / "stranger")

    @staticmethod
    def read(keys: Any) -> Trust:
        data = (keys / "trust" / trust.FILE_NAME).read_bytes()
        return trust.decode_anchor(data, subject="x")

    def own(self, role: str) -> str:
        """The id of the store's key of a role."""
        return self.anchor.roles[role].key_ids[0]

    def other(self, role: str) -> str:
        """The id of the stranger's."""
        return self.stranger.roles[role].key_ids[0]

    def version(self, number: int, *, revoked: tuple[str, ...] = (), **lists: Any) -> Trust:
        """A trust store with both list keys known; `key_ids` and `threshold` for the list role."""
        key_ids = lists.get("key_ids", (self.own("list"),))
        role = Role(key_ids, lists.get("threshold", 1))
        keys = self.anchor.keys | {
            one: self.stranger.keys[one] for one in key_ids if one in self.stranger.keys
        }
        return Trust(keys, self.anchor.roles | {"list": role}, number, 0, revoked)

    def sealed(self, made: Trust, *signers: str) -> bytes:
        """A trust store signed by the root keys of these directories."""
        envelope = dsse.Envelope(trust.PAYLOAD_TYPE, made.encode(), ())
        for one in signers:
            envelope = add_signature(envelope, Signer(self.good.directory / one / "root.key"))
        return envelope.encode()

    def list_by(self, *signers: str) -> bytes:
        """Generation 2 of the list, signed by the list keys of these directories."""
        envelope = dsse.decode(self.good.list_file(2).read_bytes(), subject="x")
        envelope = envelope._replace(signatures=())
        for one in signers:
            envelope = add_signature(envelope, Signer(self.good.directory / one / "list.key"))
        return envelope.encode()


def cells(good: Tiny, files: Files, list_path: str) -> Iterator[Cell]:
    """Every cell about trust."""
    keys = Keys(good)
    yield from _thresholds(keys, files, list_path)
    yield from _revoked(keys, files, list_path)
    yield from _versions(keys, files)
    yield from _anchors(keys, files)


def _thresholds(keys: Keys, files: Files, list_path: str) -> Iterator[Cell]:
    two = keys.version(1, key_ids=(keys.own("list"), keys.other("list")), threshold=2)
    place = files.add_trust(keys.sealed(two, "keys"))
    yield Cell("two signatures needed, one is there", (), _BOTH, 0, trust=place,
               stopped="no-generation-left")  # fmt: skip
    both = ("write", list_path, files.add(keys.list_by("keys", "stranger")))
    yield Cell("two signatures needed, two are there", (both,), (), 2, trust=place)
    envelope = dsse.decode(keys.list_by("keys"), subject="x")
    twice = envelope._replace(signatures=envelope.signatures * 2).encode()
    same = ("write", list_path, files.add(twice))
    yield Cell("two signatures needed, the same one twice", (same,),
               _BOTH, 0, trust=place, stopped="no-generation-left")  # fmt: skip


def _revoked(keys: Keys, files: Files, list_path: str) -> Iterator[Cell]:
    own, other = keys.own("list"), keys.other("list")
    here = keys.version(1, key_ids=(own, other), revoked=(own,))
    place = files.add_trust(keys.sealed(here, "keys"))
    yield Cell("a revoked key signed", (), _BOTH, 0, trust=place, stopped="no-generation-left")
    by_other = ("write", list_path, files.add(keys.list_by("stranger")))
    yield Cell("a revoked key, and the new one", (by_other,), (), 2, trust=place)
    newer = keys.sealed(keys.version(2, key_ids=(own, other), revoked=(own,)), "keys")
    published = ("write", "trust/2.json", files.add(newer))
    yield Cell("revoked by a newer trust store in the store", (published,), _BOTH, 0,
               stopped="no-generation-left")  # fmt: skip
    yield Cell("signed by the key that a newer trust store names", (published, by_other), (), 2)
    yield refused("signed by a key that no trust store names", by_other, "signature-untrusted")


def _versions(keys: Keys, files: Files) -> Iterator[Cell]:
    """Newer versions that are not to be believed: the machine stays with what it has, aloud."""
    thief = keys.version(2, key_ids=(keys.other("list"),))
    path = "trust/2.json"

    def bad(name: str, code: str, *edits: Edit) -> Cell:
        return Cell(f"trust store version 2: {name}", edits, (), 2, warnings=(code,))

    def write(data: bytes) -> Edit:
        return ("write", path, files.add(data))

    yield bad("signed by a stranger's root key", "signature-untrusted",
              write(keys.sealed(thief, "stranger")))  # fmt: skip
    yield bad("signed by nobody", "signature-untrusted", write(keys.sealed(thief)))
    good = keys.sealed(keys.version(2), "keys")
    yield Cell("trust store version 2: a good one", (write(good),), (), 2)
    # Its version is 3, though the root key signed it.
    yield bad("another version's", "trust-misplaced", write(keys.sealed(keys.version(3), "keys")))
    yield bad("truncated", "envelope-invalid", write(good[:-9]))
    yield bad("emptied", "envelope-invalid", write(b""))
    yield bad("a payload bit", "signature-invalid", write(_flipped(good)))
    yield bad("1 GiB", "file-too-large", ("sparse", path, 1 << 30))
    yield bad("a FIFO", "file-invalid", ("fifo", path))
    yield bad("a directory", "file-invalid", ("directory", path))
    yield bad("a symlink", "file-invalid", write(good), ("symlink", path))
    seen = keys.version(2).seen
    memory = State(trust=seen.version, trust_digest=seen.digest)
    remembered: Edit = ("write", f"state/{tiny.LIST}.json", files.add(memory.encode()))
    yield Cell("trust store: less than was believed before", (remembered,), (), 0,
               stopped="trust-rolled-back")  # fmt: skip
    yield Cell("trust store: what was believed before", (remembered, write(good)), (), 2)
    forked = keys.sealed(keys.version(2, revoked=("0" * 64,)), "keys")
    yield Cell("trust store: another one of the version that was believed",
               (remembered, write(forked)), (), 0, stopped="trust-rolled-back")  # fmt: skip


def _flipped(envelope: bytes) -> bytes:
    start = envelope.index(b'"payload":"') + len(b'"payload":"') + 8
    changed = bytearray(envelope)
    changed[start] = ord("A") if changed[start] != ord("A") else ord("B")
    return bytes(changed)


def _anchors(keys: Keys, files: Files) -> Iterator[Cell]:
    """The initramfs's own trust store, damaged or wrongly made: nothing is booted."""
    good = keys.sealed(keys.version(1), "keys")
    # RFC 8032's first test vector: everybody has its private key.
    known = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    roles = keys.anchor.roles | {"list": Role((signature.key_id(known),), 1)}
    published = Trust(keys.anchor.keys | {signature.key_id(known): known}, roles)
    for name, data, code in (
        ("emptied", b"", "envelope-invalid"),
        ("truncated", good[:200], "envelope-invalid"),
        ("a payload bit", _flipped(good), "signature-invalid"),
        ("signed by nobody", keys.sealed(keys.version(1)), "signature-untrusted"),
        ("with a published key", keys.sealed(published, "keys"), "key-published"),
    ):
        place = files.add_trust(data)
        # A flipped bit may also make the payload no trust store at all: it is parsed first.
        codes = (code, "trust-invalid", "json-invalid") if name == "a payload bit" else (code,)
        yield Cell(f"anchor: {name}", (), (), 0, trust=place, stopped="|".join(codes))
    yield Cell("anchor: missing", (), (), 0, trust="none", stopped="trust-invalid")
