"""A machine, its operator, and whoever brings the store take turns: what is booted, and what never.

The machine's memory is its own here (docs/threat-model.md says what follows where it is not): the
attacker chooses which signed lists are in the store, what `current` says, and which of them fail.
"""

from hypothesis import given, settings
from hypothesis import strategies as st
from repository import Person, person, sign, system

from bootunion import choice, dsse, systemlist, trust
from bootunion.errors import BootunionError
from bootunion.state import State
from bootunion.systemlist import SystemList
from bootunion.trust import Role, Trust

OPERATOR, THIEF = person(), person()
TRUST = Trust(
    {OPERATOR.key_id: OPERATOR.public},
    {name: Role((OPERATOR.key_id,), 1) for name in ("root", "list", "package")},
)
Lists = dict[int, dsse.Envelope]


def signed(made: SystemList, by: Person) -> dsse.Envelope:
    return sign(made.encode(), systemlist.PAYLOAD_TYPE, [by])


def open_list(envelope: dsse.Envelope, generation: int) -> SystemList:
    payload, _ = trust.open_envelope(TRUST, trust.ROLE_LIST, envelope, subject="x")
    found = systemlist.decode(payload, subject="x")
    systemlist.check_place(found, "demo", generation, subject="x")
    return found


def boot(
    stored: Lists, current: int, asked: int, memory: State, now: int
) -> tuple[SystemList | None, State]:
    """What the agent's rules choose, and the memory with the try counted; as initrd/boot.py."""
    for candidate in choice.order(asked, current, stored, memory):
        try:
            found = open_list(stored[candidate.generation], candidate.generation)
        except (KeyError, BootunionError):
            continue
        if not choice.refusals(found, candidate, memory, now):
            return found, memory.count_try(found.generation)
    return None, memory


# Each turn: the generations that the attacker leaves in the store, what `current` names, what the
# operator asks for, the number of a list by the thief, whether the root comes up.
TURN = st.tuples(
    st.sets(st.integers(1, 8)), st.integers(0, 9), st.sampled_from([0, 0, 0, 1, 3, 8]),
    st.integers(0, 8), st.booleans(),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=8, max_size=8), st.lists(TURN, max_size=25))
def test_nothing_below_the_floor_and_nothing_unsigned_is_ever_booted(
    floors: list[int], turns: list[tuple[set[int], int, int, int, bool]]
) -> None:
    operator = {
        number: system(number, floor=min(floor, number)) for number, floor in enumerate(floors, 1)
    }
    all_lists = {number: signed(one, OPERATOR) for number, one in operator.items()}
    memory = State()
    for left, current, asked, forged, comes_up in turns:
        stored = {number: all_lists[number] for number in left}
        if forged:
            # The newest of all, by the thief's own key, under the operator's key's name.
            mine = signed(system(forged, seed="e"), THIEF)
            claims = tuple(one._replace(key_id=OPERATOR.key_id) for one in mine.signatures)
            stored[forged] = mine._replace(signatures=claims)
        before = memory
        found, memory = boot(stored, current, asked, memory, now=100)
        if found is None:
            # Something to boot was there? Then it was forged, below the floor, or worn out.
            good = before.good
            assert not good or good not in left or good == forged or good < before.floor
            continue
        assert found == operator[found.generation]
        assert found.generation >= before.floor
        # Never more tries than the list allows, but for the last good one.
        assert before.tried(found.generation) < found.tries or found.generation == before.good
        if comes_up:
            memory = memory.mark_good(found.generation, found.floor, found.created)
            assert memory.floor >= before.floor and memory.tried(found.generation) == 0


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 8))
def test_mixing_and_matching_names_is_refused(one: int, other: int, floor: int) -> None:
    envelope = signed(system(one, floor=min(floor, one)), OPERATOR)
    found, _ = boot({other: envelope}, other, 0, State(), now=100)
    assert (found is not None) == (one == other)


def test_a_freeze_ends_with_the_expiry_of_what_is_shown() -> None:
    frozen = signed(system(3)._replace(expires=1000), OPERATOR)
    assert boot({3: frozen}, 3, 0, State(), now=999)[0] is not None
    assert boot({3: frozen}, 3, 0, State(), now=1000)[0] is None
    # The last good one is booted all the same: a wrong clock must not stop the machine.
    assert boot({3: frozen}, 3, 0, State(good=3), now=5000)[0] is not None


def test_a_far_generation_does_not_lock_the_machine_out_of_the_next_one() -> None:
    # Fast-forward: a forged far number in `current` or in the store leaves no trace.
    stored = {7: signed(system(7), OPERATOR), 8: signed(system(8), THIEF)}
    found, memory = boot(stored, (1 << 53) - 1, 0, State(), now=1)
    assert found is not None and found.generation == 7
    assert memory == State(tries=((7, 1),))
