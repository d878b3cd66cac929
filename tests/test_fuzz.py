"""A short run of what `make fuzz` does for long: no bytes make a parser do more than refuse."""

import random

import pytest
from fuzz.mutate import mutated
from fuzz.targets import TARGETS, run

EXECUTIONS = 3000


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_make_a_parser_do_more_than_refuse(name: str) -> None:
    target, seed = TARGETS[name]
    signed = name in ("opened-list", "next-trust", "anchor")
    assert run(target, seed) is not signed
    luck = random.Random()
    accepted = 0
    for _ in range(EXECUTIONS):
        data = mutated(seed, luck)
        try:
            accepted += run(target, data)
        except BaseException:
            print(f"crashes {name}: {data!r}")
            raise
    # Otherwise the mutations never get past the first check, and the run says nothing.
    assert signed or 0 < accepted < EXECUTIONS
