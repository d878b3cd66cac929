"""What a machine remembers of a list from boot to boot: pure, bytes in, values out.

It lies in the store's `state/` (see `initrd.state`), so it is as strong as the store's write
protection and no stronger: docs/threat-model.md says what that means.
"""

from __future__ import annotations

from . import canonical
from .fields import HEX_DIGEST, Fields
from .systemlist import MAX_GENERATION, MAX_TIME
from .values import NamedTuple

SCHEMA = 1
MAX_SIZE = 1 << 16
MAX_COUNTED = 64
"""Generations whose tries are remembered; the ones counted longest ago are forgotten."""

MAX_COUNT = 1 << 30
_CODE = "state-invalid"


class State(NamedTuple):
    """What is remembered of one list.

    `good` is the generation that was last marked good (0: none yet), `floor` and `time` the highest
    floor and the latest time of creation (seconds since 1970) of a list that was. `tries` counts,
    by generation, the boots since it was last marked good. `boots` counts all boots, `reboots` the
    machine's reboots after refusals in a row. `trust` is the highest version of the trust store
    that was believed, `trust_digest` that one's digest (hex; see `trust.Seen`).

    The clock's time is not remembered: one wrong clock would expire every later list.
    """

    good: int = 0
    floor: int = 0
    time: int = 0
    tries: tuple[tuple[int, int], ...] = ()
    boots: int = 0
    reboots: int = 0
    trust: int = 0
    trust_digest: str = ""

    def tried(self, generation: int) -> int:
        """How often `generation` was booted since it was last marked good."""
        return dict(self.tries).get(generation, 0)

    def count_try(self, generation: int) -> State:
        """The state in which one more try of `generation` is counted."""
        others = tuple(one for one in self.tries if one[0] != generation)
        tries = (*others, (generation, min(self.tried(generation) + 1, MAX_COUNT)))
        return self._replace(tries=tries[-MAX_COUNTED:])

    def believing(self, version: int, digest: str) -> State:
        """The state after a version of the trust store was believed."""
        return self._replace(trust=version, trust_digest=digest)

    def mark_good(self, generation: int, floor: int, created: int) -> State:
        """The state after `generation`, whose list has `floor` and `created`, came up."""
        return self._replace(
            good=generation,
            floor=max(self.floor, floor),
            time=max(self.time, created),
            tries=tuple(one for one in self.tries if one[0] != generation),
            reboots=0,
        )

    def encode(self) -> bytes:
        """The state as it stands in its file."""
        fields = {**self._asdict(), "schema": SCHEMA, "tries": [list(one) for one in self.tries]}
        return canonical.encode(fields)


def decode(data: bytes, *, subject: str) -> State:
    """The state in `data`, at most `MAX_SIZE` bytes. Raises BootunionError state-invalid."""
    fields = Fields(
        canonical.decode(data, subject=subject, code=_CODE), code=_CODE, subject=subject
    )
    fields.integer("schema", SCHEMA, SCHEMA)
    result = State(
        good=fields.integer("good", 0, MAX_GENERATION),
        floor=fields.integer("floor", 0, MAX_GENERATION),
        time=fields.integer("time", 0, MAX_TIME),
        tries=_tries(fields),
        boots=fields.integer("boots", 0, MAX_COUNT),
        reboots=fields.integer("reboots", 0, MAX_COUNT),
        trust=fields.integer("trust", 0, MAX_GENERATION),
        trust_digest=fields.text("trust_digest"),
    )
    fields.done()
    if result.trust_digest and not HEX_DIGEST.match(result.trust_digest):
        raise fields.wrong("is no digest", "trust_digest")
    return result


def _tries(fields: Fields) -> tuple[tuple[int, int], ...]:
    raw = fields.take("tries")
    if not isinstance(raw, list) or len(raw) > MAX_COUNTED:
        raise fields.wrong(f"is not a list of at most {MAX_COUNTED}", "tries")
    for one in raw:
        if not isinstance(one, list) or [type(item) for item in one] != [int, int] or min(one) < 0:
            raise fields.wrong("holds something else than pairs of whole numbers", "tries")
    return tuple((one[0], min(one[1], MAX_COUNT)) for one in raw)
