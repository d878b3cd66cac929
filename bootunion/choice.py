"""Which generation is booted: pure. The rules, in the order in which they are applied:

1. The generation that the kernel command line names comes first; without one, the generation that
   the store's `current` names. Both are wishes, not orders.
2. Then the generation that was last marked good; then `current`, when another was asked for.
3. Then those stored generations that are older than these, the newest first. A newer one that
   nobody asked for is never booted while one of these is stored.
4. Last, as the last resort, the last good one once more, without a limit of tries; a corruption
   that restarts the machine does not restart it then. So a machine that once was good never runs
   out of tries, and a broken generation never keeps it in a loop.

A generation is passed over when its list is below the remembered floor, when it was tried as often
as its list allows without having been marked good, or when it expired. The last good generation
is booted although it expired: a wrong clock must not stop a machine that worked yesterday.

When no try can be counted, the last good generation comes first: a generation that fails without
being counted would be tried for ever.
"""

from __future__ import annotations

from .errors import BootunionError
from .state import State
from .systemlist import SystemList
from .values import NamedTuple

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CANDIDATES = 16
"""Generations looked at in one boot: a store full of bad lists must not keep a machine busy."""


class Candidate(NamedTuple):
    """A generation that may be booted, and `why` it is on the way ("asked for", "current" …)."""

    generation: int
    why: str
    last_resort: bool = False


def order(
    asked: int, current: int, stored: Iterable[int], state: State, *, counting: bool = True
) -> tuple[Candidate, ...]:
    """The generations to look at, best first; `asked` and `current` are 0 for none.

    `counting` says whether a try can be counted on this machine now.
    """
    found: dict[int, Candidate] = {}

    def add(generation: int, why: str) -> None:
        if generation:
            found.setdefault(generation, Candidate(generation, why))

    if not counting:
        add(state.good, "last good, for no try can be counted")
    add(asked, "asked for")
    add(0 if asked else current, "current")
    add(state.good, "last good")
    add(current, "current")
    there = set(stored)
    newest = max(there.intersection(found), default=0)
    for generation in sorted(there, reverse=True):
        if generation < newest or not newest:
            add(generation, "older")
    chosen = list(found.values())[:MAX_CANDIDATES]
    if state.good:
        chosen.append(Candidate(state.good, "last resort", last_resort=True))
    return tuple(chosen)


def refusals(
    system: SystemList, candidate: Candidate, state: State, now: int
) -> tuple[BootunionError, ...]:
    """Why the machine's memory forbids a list whose signature holds; empty when it does not.

    `now` is the clock's time, seconds since 1970.
    """
    subject = system.title
    found = []
    if system.generation < state.floor:
        text = f"this machine has booted a list whose floor is {state.floor}"
        found.append(BootunionError("below-floor", text, subject=subject))
    tried = state.tried(system.generation)
    if system.tries and tried >= system.tries and not candidate.last_resort:
        text = f"was tried {tried} times and never came up well"
        found.append(BootunionError("tries-exhausted", text, subject=subject))
    if system.generation != state.good:
        found += expired(system, max(now, state.time))
    return tuple(found)


def expired(system: SystemList, now: int) -> list[BootunionError]:
    """The refusal of a list whose time is over at `now`."""
    if not system.expires or now < system.expires:
        return []
    subject = system.title
    text = f"the list expired {now - system.expires} seconds ago"
    return [BootunionError("list-expired", text, subject=subject)]
