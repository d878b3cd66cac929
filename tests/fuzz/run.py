"""The long run, guided by coverage (atheris): `make fuzz`, or `python -m fuzz.run TARGET -runs=N`.

What crashes is left in the working directory as crash-…; `python -m fuzz.run TARGET FILE` shows it.
"""

from __future__ import annotations

import random
import sys

import atheris

with atheris.instrument_imports(include=["bootunion"]):
    from fuzz import mutate, targets


def main() -> None:
    name = sys.argv.pop(1)
    target, seed = targets.TARGETS[name]

    def once(data: bytes) -> None:
        targets.run(target, data)

    def mutator(data: bytes, most: int, number: int) -> bytes:
        luck = random.Random(number)
        if luck.random() < 0.2:
            return atheris.Mutate(data, most)
        return mutate.mutated(data if len(data) > 2 else seed, luck)[:most]

    atheris.Setup(sys.argv, once, custom_mutator=mutator)
    atheris.Fuzz()


main()
