"""`bootunion doctor`: reads reports, state, lists and trust store; says what is wrong.

It refuses nothing and repairs nothing: every finding is a sentence with its code and way out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bootunion import choice, codes, trust
from bootunion.errors import BootunionError
from bootunion.initrd import report as reporting
from bootunion.initrd import state as keeping
from bootunion.initrd.store import Store as Reader
from bootunion.state import State
from bootunion.systemlist import SystemList

from . import planning, reading, signing, verifying
from .store import Store

WRONG = "wrong"
NOTE = "note"
_MOST = 4096


class Finding(NamedTuple):
    """One finding: `severity` is `wrong` or `note`, `about` a list, a generation or a boot."""

    severity: str
    code: str
    about: str
    text: str
    way_out: str = ""


def examine(store_path: Path, trust_path: Path, list_name: str, *, blocks: bool) -> list[Finding]:
    """Everything that can be said of a store; with `blocks` every package is read.

    Raises BootunionError file-missing when there is no store.
    """
    found: list[Finding] = []
    trusted: trust.Trust | None = None
    try:
        trusted, refusals = signing.read_chain(trust_path, store_path)
        found += [_wrong("trust store", one) for one in refusals]
    except BootunionError as error:
        found.append(_wrong(str(trust_path), error))
    with Reader(str(store_path)) as reader:
        found += _reports(reader)
        lists = sorted(path.name for path in (store_path / "lists").glob("*") if path.is_dir())
        for name in [list_name] if list_name else lists:
            found += _list(reader, Store(store_path), trusted, name, blocks)
    if not lists:
        found.append(Finding(WRONG, "list-missing", str(store_path), "the store has no list"))
    return found


def _wrong(about: str, error: BootunionError) -> Finding:
    return Finding(WRONG, error.code, about, str(error), error.way_out)


def _reports(reader: Reader) -> Iterator[Finding]:
    """What the machine's last boots said, oldest first."""
    for name in sorted(keeping.names(reader, reporting.REPORTS, most=_MOST)):
        try:
            document = json.loads(reader.read(reporting.REPORTS, name, limit=8 << 20))
            yield from _report(document)
        except (BootunionError, ValueError, KeyError, TypeError, AttributeError):
            text = "is no report; it is passed over"
            yield Finding(NOTE, "state-invalid", f"{reporting.REPORTS}/{name}", text)


def _report(document: dict[str, Any]) -> Iterator[Finding]:
    boot = f"boot {document['number']}"
    for one in document["refused"]:
        about = f"{boot}, generation {one['generation']} ({one['why']})"
        yield Finding(WRONG, one["code"], about, one["message"], one["way_out"])
    for one in document["warnings"]:
        yield Finding(NOTE, one["code"], boot, one["message"], one["way_out"])
    if document["result"] == "trying":
        generation = document["list"]["generation"] if "list" in document else "?"
        text = f"generation {generation} was tried and never marked good"
        yield Finding(WRONG, "tries-exhausted", boot, text, "Look at that boot's own log.")
    elif document["result"] == "refused":
        error = document["error"]
        yield Finding(WRONG, error["code"], boot, error["message"], error["way_out"])


def _list(
    reader: Reader, store: Store, trusted: trust.Trust | None, name: str, blocks: bool
) -> Iterator[Finding]:
    keeper = keeping.Keeper(reader, name)
    memory = keeper.load()
    if keeper.problem:
        yield _wrong(f"list {name}", keeper.problem)
    yield Finding(NOTE, "", f"list {name}", _remembered(memory))
    current = 0
    try:
        current = reader.current(name)
    except BootunionError as error:
        yield _wrong(f"list {name}", error)
    if trusted is None:
        return
    for candidate in choice.order(0, current, store.generations(name), memory):
        if not candidate.last_resort:
            yield from _generation(store, trusted, name, candidate, memory, blocks)


def _remembered(memory: State) -> str:
    good = f"generation {memory.good} was last marked good" if memory.good else "none is good yet"
    tries = ", ".join(f"{generation}: {count}" for generation, count in memory.tries) or "none"
    return f"{good}; the floor is {memory.floor}; {memory.boots} boots; tries since: {tries}"


def _generation(
    store: Store, trusted: trust.Trust, name: str, candidate: choice.Candidate, memory: State,
    blocks: bool,
) -> Iterator[Finding]:  # fmt: skip
    about = f"list {name} generation {candidate.generation} ({candidate.why})"
    try:
        system, _ = reading.read_list(store, trusted, name, candidate.generation)
    except BootunionError as error:
        yield _wrong(about, error)
        return
    for refusal in choice.refusals(system, candidate, memory, planning.now()):
        yield _wrong(about, refusal)
    problems = list(_packages(store, trusted, system, blocks))
    yield from (_wrong(about, one) for one in problems)
    if not problems:
        depth = "every block" if blocks else "sizes and signatures"
        text = f"{len(system.packages)} packages are whole ({depth} looked at)"
        yield Finding(NOTE, "", about, text)


def _packages(
    store: Store, trusted: trust.Trust, system: SystemList, blocks: bool
) -> Iterator[BootunionError]:
    if blocks:
        verdicts = verifying.verify(store, trusted, system, lambda _: None)
        yield from (one.error for one in verdicts if one.error is not None)
        return
    for layer in system.packages:
        try:
            reading.read_manifest(store, trusted, layer)
            size = (store.packages / layer.file_name).stat().st_size
            if size != layer.image.size:
                text = f"has {size} bytes, the list says {layer.image.size}"
                yield BootunionError("file-changed", text, subject=layer.file_name)
        except BootunionError as error:
            yield error
        except OSError:
            yield BootunionError("file-missing", "is not in the store", subject=layer.file_name)


def show(found: list[Finding]) -> None:
    """The findings for people, in the order in which they were found."""
    for one in found:
        code = f" [{one.code}]" if one.code else ""
        print(f"{one.severity:5}  {one.about}: {one.text}{code}")
        if one.severity == WRONG:
            print(f"       {one.way_out or codes.CODES[one.code].way_out}")
    wrong = sum(one.severity == WRONG for one in found)
    print(f"{wrong} thing(s) wrong" if wrong else "nothing is wrong")
