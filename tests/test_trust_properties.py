"""An attacker with the store and with keys below the thresholds gets nowhere: whatever they try, a
machine boots only what the operator signed, and never believes less than before.

An operator, a thief and a machine take turns. The thief may have any keys, as long as they never
reach the threshold of the root or list role of a version from the one on that the machine
remembers: that is the promise. Versions before it may be theirs altogether.
"""

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from repository import (
    Booted,
    Machine,
    Person,
    Repository,
    list_path,
    people,
    person,
    sign,
    system,
    trust_of,
    trust_path,
)

from bootunion import dsse, systemlist, trust
from bootunion.errors import BootunionError
from bootunion.trust import Trust

ROLES = ("root", "list")
FRESH = people(24)
OWN, MINE = people(2)  # the thief's own keys, which nobody trusts


class Attack(RuleBasedStateMachine):
    """`store` is what the machine sees; `repository` what was published."""

    @initialize(threshold=st.integers(1, 2))
    def begin(self, threshold: int) -> None:
        self.fresh = list(FRESH)
        members = {
            "root": (self._take(3), 2),
            "list": (self._take(3), threshold),
            "package": (self._take(1), 1),
        }
        self.repository = Repository(members)
        self.repository.publish_list(system(1))
        self.machine = Machine(self.repository.anchor)
        self.store = dict(self.repository.files)
        self.stolen: dict[str, Person] = {}
        self.believed = 0

    def _take(self, count: int) -> list[Person]:
        return [self.fresh.pop() if self.fresh else person() for _ in range(count)]

    def _held(self, versions: list[Trust], stolen: set[str]) -> bool:
        """Whether the thief is below the thresholds of all these versions."""
        return all(
            len(stolen & set(one.roles[role].key_ids) - set(one.revoked))
            < one.roles[role].threshold
            for one in versions
            for role in ROLES
        )

    def _live(self) -> list[Trust]:
        lowest = max(1, self.machine.seen.version)
        return [one for version, one in self.repository.trusts.items() if version >= lowest]

    # The operator

    @rule(role=st.sampled_from(ROLES), index=st.integers(0, 2),
          revoke=st.sampled_from(["", "revoked", "revoked but named"]),
          threshold=st.integers(1, 2), seen=st.booleans())  # fmt: skip
    def rotate(self, role: str, index: int, revoke: str, threshold: int, seen: bool) -> None:
        """Give a role a new key in the place of an old one; `seen`: the machine boots with it."""
        group = list(self.repository.members[role][0])
        old = group.pop(index)
        new = self._take(1)
        revoked = [old] if revoke else []
        if revoke == "revoked but named":
            group = [*group[1:], old]
        members = self.repository.members | {role: ([*group, *new], threshold)}
        gone = {*self.repository.newest.revoked, *(one.key_id for one in revoked)}
        planned = trust_of(members, revoked=tuple(gone))
        if self._held([planned], set(self.stolen)) and self._reachable(planned):
            self.repository.change(members, revoked)
            if seen:
                self.deliver()

    def _reachable(self, planned: Trust) -> bool:
        return all(len(planned.counting(name)) >= one.threshold
                   for name, one in planned.roles.items())  # fmt: skip

    @rule()
    def compose(self) -> None:
        generations = [int(path.split("/")[2][:-5]) for path in self.repository.files
                       if path.startswith("lists/")]  # fmt: skip
        self.repository.publish_list(system(max(generations) + 1))

    @rule()
    def deliver(self) -> None:
        """The store is as published; then the machine boots the newest list."""
        self.store = dict(self.repository.files)
        self.compose()
        self.store |= self.repository.files
        newest = max((path for path in self.store if path.startswith("lists/")),
                     key=lambda path: int(path.split("/")[2][:-5]))  # fmt: skip
        booted = self._boot(newest)
        assert booted is not None
        assert (booted.trust, booted.refusals) == (self.repository.newest, ())

    # The thief

    def _steal(self, order: Random) -> None:
        """As many keys as the promise allows, in any order."""
        known = sorted(self.repository.known)
        order.shuffle(known)
        for key_id in known:
            if self._held(self._live(), {*self.stolen, key_id}):
                self.stolen[key_id] = self.repository.known[key_id]

    @rule(source=st.integers(0, 99), number=st.integers(1, 9), place=st.integers(0, 10_000),
          kind=st.sampled_from(["trust", "list", "withheld", "flipped", "cut", "empty",
                                "endless"]))  # fmt: skip
    def meddle(self, source: int, number: int, place: int, kind: str) -> None:
        """Copy a published file over another one, or spoil a file."""
        published, own = sorted(self.repository.files), sorted(self.store)
        if kind in ("trust", "list"):
            path = list_path(number) if kind == "list" else trust_path(number)
            self.store[path] = self.repository.files[published[source % len(published)]]
        elif own:
            path = own[source % len(own)]
            data = self.store.pop(path) or b"x"
            at = place % len(data)
            flipped = data[:at] + bytes([data[at] ^ 1 << place % 8]) + data[at + 1 :]
            endless = data + b" " * trust.MAX_SIZE
            spoilt = {"flipped": flipped, "cut": data[:at], "empty": b"", "endless": endless}
            if kind in spoilt:
                self.store[path] = spoilt[kind]

    @rule(ahead=st.integers(-2, 2), claimed=st.sampled_from([0, 0, 0, -1, 1, 1 << 40]),
          root=st.sampled_from(["own", "honest"]), forget=st.booleans(), boot=st.booleans(),
          splice=st.booleans(), order=st.randoms(use_true_random=False))  # fmt: skip
    def forge_trust(self, ahead: int, claimed: int, root: str, forget: bool, boot: bool,
                    splice: bool, order: Random) -> None:  # fmt: skip
        """A version in which the thief has the list role, signed with all that they have.

        Around the version that the machine reaches, where forging would pay; then a list by that
        key, and everything else as published, or as the thief has left it.
        """
        self._steal(order)
        version = max(2, self.machine.seen.version + ahead)
        before = self.repository.trusts.get(version - 1, self.repository.newest)
        group = [self.repository.known[one] for one in before.roles["root"].key_ids]
        mine = trust_of(
            {"root": (group if root == "honest" else [OWN], 1), "list": ([MINE], 1),
             "package": ([MINE], 1)},
            version=max(1, version + claimed), revoked=() if forget else before.revoked,
        )  # fmt: skip
        if boot:
            self.store = dict(self.repository.files)
        pool = [*self.stolen.values(), OWN, MINE]
        self._put(trust_path(version), mine.encode(), trust.PAYLOAD_TYPE, pool, splice)
        if boot:
            self._put(list_path(8), system(8, seed="b").encode(), systemlist.PAYLOAD_TYPE, [MINE])
            self._boot(list_path(8))

    @rule(generation=st.integers(1, 9), splice=st.booleans(), seed=st.sampled_from("bcd"),
          published=st.booleans(), order=st.randoms(use_true_random=False))  # fmt: skip
    def forge_list(self, generation: int, splice: bool, seed: str, published: bool,
                   order: Random) -> None:  # fmt: skip
        """A list signed with all stolen keys, each twice; the rest as published or as left."""
        self._steal(order)
        if published:
            self.store = dict(self.repository.files)
        payload = system(generation, seed=seed).encode()
        pool = [*self.stolen.values(), OWN]
        path = list_path(generation)
        self._put(path, payload, systemlist.PAYLOAD_TYPE, pool, splice)
        self._boot(path)

    def _put(self, path: str, payload: bytes, kind: str, signers: list[Person],
             splice: bool = False) -> None:  # fmt: skip
        envelope = sign(payload, kind, signers)
        twice = (*envelope.signatures, *envelope.signatures)
        if splice and path in self.repository.files:  # the right signatures of another document
            twice = (*twice, *dsse.decode(self.repository.files[path], subject=path).signatures)
        self.store[path] = envelope._replace(signatures=twice[: dsse.MAX_SIGNATURES]).encode()

    @rule(back=st.integers(1, 3))
    def roll_back(self, back: int) -> None:
        """The store as it was some versions of the trust store ago."""
        kept = max(1, max(self.repository.trusts) - back)
        self.store = {path: data for path, data in self.repository.files.items()
                      if not path.startswith("trust/") or int(path[6:-5]) <= kept}  # fmt: skip
        for path in [one for one in self.store if one.startswith("lists/")]:
            self._boot(path)

    # The machine

    @rule(generation=st.integers(1, 9))
    def boot(self, generation: int) -> None:
        self._boot(list_path(generation))

    def _boot(self, path: str) -> Booted | None:
        try:
            booted = self.machine.boot(self.store, path)
        except BootunionError:
            return None
        signed_by = self.repository.lists.get(booted.payload)
        assert signed_by is not None, "a list that the operator did not sign was booted"
        assert booted.trust == self.repository.trusts.get(booted.trust.version)
        assert booted.trust.version >= self.believed, "the machine believes less than before"
        honest = signed_by - set(self.stolen) - set(booted.trust.revoked)
        assert honest & set(booted.trust.roles["list"].key_ids), "nobody honest vouches for it"
        return booted

    @invariant()
    def memory_only_grows(self) -> None:
        if hasattr(self, "machine"):
            seen = self.machine.seen
            assert seen.version >= self.believed
            assert seen == trust.NOTHING or seen == self.repository.trusts[seen.version].seen
            self.believed = seen.version


Attack.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAttack = Attack.TestCase
