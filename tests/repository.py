"""A repository of signed documents in memory, its operator, and a machine that boots from it.

Nothing is mocked: envelopes are signed and read by bootunion's own code. An attacker is whoever
changes the files between the operator and the machine, with the keys that they have stolen.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bootunion import dsse, signature, systemlist, trust, verity
from bootunion.package import Image
from bootunion.systemlist import Layer, SystemList
from bootunion.trust import Role, Trust

NAME = "demo"


class Person(NamedTuple):
    """Somebody with a key."""

    private: bytes
    public: bytes

    @property
    def key_id(self) -> str:
        return signature.key_id(self.public)


def person() -> Person:
    return Person(*signature.generate())


def people(count: int) -> list[Person]:
    return [person() for _ in range(count)]


def sign(payload: bytes, kind: str, signers: Iterable[Person]) -> dsse.Envelope:
    message = dsse.pre_authentication(kind, payload)
    return dsse.Envelope(kind, payload, tuple(
        dsse.Signature(one.key_id, signature.sign(one.private, message, subject="k")[1])
        for one in signers
    ))  # fmt: skip


def sign_trust(made: Trust, signers: Iterable[Person]) -> bytes:
    return sign(made.encode(), trust.PAYLOAD_TYPE, signers).encode()


def trust_path(version: int) -> str:
    return f"{trust.DIRECTORY}/{version}.json"


def list_path(generation: int, name: str = NAME) -> str:
    return f"lists/{name}/{generation}.json"


def system(generation: int, *, floor: int = 0, name: str = NAME, seed: str = "a") -> SystemList:
    image = Image("squashfs", verity.file_size(2), 2, 8192, "0" * 64, seed * 64)
    layers = (Layer("one", "1", "amd64", image),)
    return SystemList(name, generation, floor, 0, "amd64", "", layers, "volatile", "0" * 64)


Members = dict[str, tuple[list[Person], int]]
"""Role → who has it, and how many of them must sign."""


def trust_of(members: Members, **more: object) -> Trust:
    keys = {one.key_id: one.public for group, _ in members.values() for one in group}
    roles = {
        name: Role(tuple(one.key_id for one in group), threshold)
        for name, (group, threshold) in members.items()
    }
    return Trust(keys, roles)._replace(**more)  # type: ignore[arg-type]


class Repository:
    """What the operator has published: `files` by path, `trusts` and `lists` as they are meant."""

    def __init__(self, members: Members, **more: object) -> None:
        self.known: dict[str, Person] = {}
        self.files: dict[str, bytes] = {}
        self.trusts: dict[int, Trust] = {}
        self.lists: dict[bytes, frozenset[str]] = {}
        """Payload → ids of the keys that signed it."""
        self._introduce(members)
        self.members = members
        self._publish(trust_of(members, **more), members["root"][0])
        self.anchor = self.files[trust_path(1)]

    @property
    def newest(self) -> Trust:
        return self.trusts[max(self.trusts)]

    def _introduce(self, members: Members) -> None:
        for group, _ in members.values():
            self.known |= {one.key_id: one for one in group}

    def _publish(self, made: Trust, signers: Iterable[Person]) -> None:
        self.trusts[made.version] = made
        self.files[trust_path(made.version)] = sign_trust(made, signers)

    def change(self, members: Members, revoke: Iterable[Person] = (), **more: object) -> Trust:
        """Publish the next version of the trust store, signed by all root keys, old and new."""
        old = self.newest
        self._introduce(members)
        revoked = {*old.revoked, *(one.key_id for one in revoke)}
        made = trust_of(members, version=old.version + 1, revoked=tuple(sorted(revoked)), **more)
        signers = {one.key_id: one for one in (*self.members["root"][0], *members["root"][0])}
        self.members = members
        self._publish(made, signers.values())
        return made

    def publish_list(self, made: SystemList, signers: Iterable[Person] | None = None) -> str:
        """Publish a list, signed by all list keys."""
        who = list(self.members["list"][0] if signers is None else signers)
        payload = made.encode()
        path = list_path(made.generation, made.name)
        self.files[path] = sign(payload, systemlist.PAYLOAD_TYPE, who).encode()
        self.lists[payload] = frozenset(one.key_id for one in who)
        return path


class Booted(NamedTuple):
    """What a machine went for."""

    trust: Trust
    payload: bytes
    refusals: tuple[str, ...]


class Machine:
    """A machine: the anchor in its initramfs, what it remembers, and its clock.

    The rules about a list's floor and generation belong into `check_list`.
    """

    def __init__(self, anchor: bytes, clock: int = 1_000) -> None:
        self.anchor = anchor
        self.clock = clock
        self.seen = trust.NOTHING

    def boot(self, files: Mapping[str, bytes], path: str) -> Booted:
        """Boot the list at `path` of the store `files`. Raises BootunionError."""
        chain = trust.load(
            self.anchor, [lambda version: files.get(trust_path(version))],
            seen=self.seen, now=self.clock, subject="anchor",
        )  # fmt: skip
        if chain.trust.version >= self.seen.version:
            self.seen = chain.trust.seen
        envelope = dsse.decode(files.get(path, b""), subject=path)
        payload, _ = trust.open_envelope(chain.trust, trust.ROLE_LIST, envelope, subject=path)
        found = systemlist.decode(payload, subject=path)
        self.check_list(found, path)
        return Booted(chain.trust, payload, tuple(one.code for one in chain.refusals))

    def check_list(self, found: SystemList, path: str) -> None:
        generation = int(path.rpartition("/")[2].removesuffix(".json"))
        systemlist.check_place(found, NAME, generation, subject=path)
