"""Which generation is booted, and what is remembered: the rules, without a machine."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_model import code_of, system

from bootunion import choice, state
from bootunion.choice import Candidate
from bootunion.errors import BootunionError
from bootunion.state import State


def order(*arguments: object, **named: object) -> list[int]:
    found = choice.order(*arguments, **named)  # type: ignore[arg-type]
    return [one.generation for one in found if not one.last_resort]


def test_what_is_wanted_comes_first_then_the_last_good_then_older_ones() -> None:
    memory = State(good=4)
    assert order(0, 6, [1, 2, 3, 4, 5, 6, 7], memory) == [6, 4, 5, 3, 2, 1]
    assert order(3, 6, [3, 4, 5, 6], memory) == [3, 4, 6, 5]
    assert order(0, 0, [3, 4, 6], memory) == [4, 3]


def test_without_a_wish_and_a_good_one_the_newest_is_taken() -> None:
    assert order(0, 0, [1, 3, 2], State()) == [3, 2, 1]


def test_a_generation_that_nobody_asked_for_is_never_booted_because_it_is_newer() -> None:
    assert 7 not in order(0, 6, [5, 6, 7], State(good=5))
    # Neither by asking for one that is not there.
    assert order(9, 6, [5, 6, 7], State(good=5)) == [9, 5, 6]
    assert order(9, 0, [5, 6, 7], State()) == [9, 7, 6, 5]


def test_when_no_try_can_be_counted_the_good_one_comes_first() -> None:
    assert order(0, 6, [4, 5, 6], State(good=4), counting=False) == [4, 6, 5]
    assert order(0, 6, [5, 6], State(), counting=False) == [6, 5]


def test_the_last_resort_is_the_good_one_and_comes_last() -> None:
    assert choice.order(0, 6, [4, 6], State(good=4))[-1] == Candidate(4, "last resort", True)
    assert not any(one.last_resort for one in choice.order(0, 6, [4, 6], State()))


@given(st.integers(0, 40), st.integers(0, 40), st.sets(st.integers(1, 40)), st.integers(0, 40))
def test_whatever_is_stored_the_wish_is_looked_at_and_the_number_is_bounded(
    asked: int, current: int, stored: set[int], good: int
) -> None:
    found = choice.order(asked, current, stored, State(good=good))
    plain = [one.generation for one in found if not one.last_resort]
    assert len(plain) == len(set(plain)) <= choice.MAX_CANDIDATES
    wish = asked or current
    assert not wish or plain[0] == wish
    assert not good or good in plain
    known = {asked, current, good} & stored
    unasked = set(plain) - {asked, current, good}
    assert not known or all(one < max(known) for one in unasked)


def codes(
    memory: State, *, now: int = 100, last_resort: bool = False, **changes: object
) -> list[str]:
    candidate = Candidate(3, "current", last_resort)
    found = choice.refusals(system(**changes), candidate, memory, now)
    return [one.code for one in found]


def test_tries_are_bounded_but_not_for_the_last_resort() -> None:
    worn = State(tries=((3, 3),))
    assert codes(State(tries=((3, 2),))) == []
    assert codes(worn) == ["tries-exhausted"]
    assert codes(worn, tries=0) == []
    assert codes(worn, last_resort=True) == []


def test_a_list_below_the_floor_is_refused_also_as_the_last_resort() -> None:
    assert codes(State(floor=3)) == []
    assert codes(State(floor=4)) == ["below-floor"]
    assert codes(State(floor=4, good=3), last_resort=True) == ["below-floor"]


def test_an_expired_list_is_refused_unless_it_was_the_last_good_one() -> None:
    assert codes(State(), now=50, expires=50) == ["list-expired"]
    assert codes(State(), now=49, expires=50) == []
    # A clock that went back does not help: a list was made later than that.
    assert codes(State(time=60), now=1, expires=50) == ["list-expired"]
    assert codes(State(good=3, time=60), now=99, expires=50) == []


def test_a_good_boot_ends_the_count_and_raises_floor_and_time_only() -> None:
    memory = State().count_try(5).count_try(5).count_try(4)
    assert (memory.tried(5), memory.tried(4), memory.tried(3)) == (2, 1, 0)
    good = memory._replace(reboots=2).mark_good(5, 3, 1000)
    assert good == State(good=5, floor=3, time=1000, tries=((4, 1),))
    # The operator's rollback keeps the floor.
    assert good.mark_good(4, 1, 900)[:3] == (4, 3, 1000)


def test_only_so_many_generations_are_counted_and_the_oldest_are_forgotten() -> None:
    memory = State()
    for generation in range(1, 200):
        memory = memory.count_try(generation)
    assert len(memory.tries) == state.MAX_COUNTED
    assert memory.tried(199) == 1 and memory.tried(1) == 0


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(0, 9), st.integers(0, 9))
def test_a_state_reads_back_as_written(tried: list[int], good: int, floor: int) -> None:
    memory = State(good=good, floor=floor, boots=7, trust=2)
    for generation in tried:
        memory = memory.count_try(generation)
    assert state.decode(memory.encode(), subject="x") == memory


@pytest.mark.parametrize(
    "change",
    [{"schema": 2}, {"good": -1}, {"tries": [[1]]}, {"tries": [[1, True]]}, {"tries": [[1, -1]]},
     {"tries": {}}, {"extra": 1}, {"boots": "1"}, {"tries": [[1, 1]] * 65}],
    ids=str,
)  # fmt: skip
def test_a_state_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    raw = json.loads(State().encode()) | change
    assert code_of(state.decode, json.dumps(raw).encode(), subject="x") == "state-invalid"


@given(st.binary(max_size=100))
def test_any_bytes_are_a_state_or_a_refusal(data: bytes) -> None:
    try:
        state.decode(data, subject="x")
    except BootunionError as error:
        assert error.code == "state-invalid"
