"""Marks the generation that this machine runs good: what the machine remembers from then on.

bootunion-good.service runs it once the units that the list names are up. It imports nothing that
the agent does not: it runs at every boot, and the command line's imports would take longer.
"""

from __future__ import annotations

import json
import sys

from bootunion.errors import BootunionError
from bootunion.initrd import report as reporting
from bootunion.initrd import state as keeping
from bootunion.initrd.store import Store
from bootunion.state import State
from bootunion.values import NamedTuple

STORE = "/pkgs"
BOOT_REPORT = "/run/bootunion/boot.json"


class Booted(NamedTuple):
    """The generation that is running, as the agent's report tells; `indexed`: by its index."""

    name: str
    generation: int
    floor: int
    created: int
    number: int
    document: bytes
    indexed: bool = False


def booted(report: str = BOOT_REPORT) -> Booted:
    """What the agent booted. Raises BootunionError not-booted."""
    try:
        with open(report, "rb") as file:
            document = file.read()
        facts = json.loads(document)
        found = facts["list"]
        if facts["result"] != "assembled":
            raise ValueError(facts["result"])
        return Booted(found["name"], found["generation"], found["floor"], found["created"],
                      facts["number"], document, facts.get("union") == "index")  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        text = "the agent left no report of a root that it assembled"
        raise BootunionError("not-booted", text, subject=report) from None


def mark_good(store_path: str, report: str = BOOT_REPORT) -> tuple[Booted, State]:
    """Remember the running generation as good, and keep its boot's report in the store.

    Raises BootunionError not-booted, file-missing, state-unwritable.
    """
    running = booted(report)
    with Store(store_path) as store:
        keeper = keeping.Keeper(store, running.name)
        memory = keeper.load().mark_good(running.generation, running.floor, running.created)
        if not keeper.save(memory):
            assert keeper.problem is not None
            raise keeper.problem
        with keeping.writable(store):
            reporting.keep_report(store, running.number, running.document)
    return running, memory


def main() -> int:
    """`python3 -m bootunion.host.marking`: for the store at /pkgs and this boot's report."""
    try:
        running, memory = mark_good(STORE)
    except BootunionError as error:
        print(f"bootunion: {error} [{error.code}]. {error.way_out}", file=sys.stderr)
        return error.status
    print(f"list {running.name} generation {running.generation} is good; "
          f"the floor is {memory.floor}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
