"""The plan for people: a preview as tables and lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from bootunion import checks, operations, plan
from bootunion.listdiff import Difference, Moved
from bootunion.systemlist import OPTIONAL, UPPER_NONE, SystemList
from bootunion.text import printable

from . import console, cost, planjson
from .planning import Preview, Row

_EXAMPLES = 3
_COLUMNS = ["#", "package", "version", "size", "files", "wins", "loses", "root hash"]
_SHORT_HASH = 12  # as people tell commits apart; the whole hash is in the JSON
_NUMBERS = ("#", "size", "files", "wins", "loses")


def show(found: Preview, denied: Sequence[str], *, every_path: bool) -> None:
    """The whole preview, the verdict last. `every_path` lists each contested path."""
    _show_stack(found)
    print()
    (_show_contested if every_path else _show_pairs)(found)
    print()
    _show_facts(found)
    for one in sorted(found.findings, key=lambda one: _ORDER[one.severity]):
        # The text names package and path.
        console.show_line(f"{one.severity:8} {one.text} [{one.code}]",
                          style=_STYLES.get(one.severity, ""))  # fmt: skip
        if one.severity != checks.INFO and one.way_out:
            console.show_line(f"{'':8} {one.way_out}")
    for refusal in found.refusals:
        console.show_line(f"refused  {refusal} [{refusal.code}]")
    good = found.boots and not denied
    for kind in denied:
        console.show_line(f"denied   {kind} was found, and --deny names it")
    console.show_line(f"verdict  {_verdict(found)}", style="bold green" if good else "bold red")


_STYLES = {checks.FATAL: "red", checks.WARNING: "yellow"}
_ORDER = {checks.FATAL: 2, checks.WARNING: 1, checks.INFO: 0}


def _verdict(found: Preview) -> str:
    if not found.boots:
        return "this root does NOT boot"
    if found.draft:
        return "nothing speaks against this root; what maintainer scripts write is not known yet"
    return "this root boots"


def _show_stack(found: Preview) -> None:
    system = found.system
    title = f"{system.title}, top first"
    rows = []
    if system.upper != UPPER_NONE:
        rows.append(["-", f"({system.upper} upper)", *[""] * (len(_COLUMNS) - 2)])
    rows += [_row(position, row) for position, row in enumerate(found.rows)]
    console.show_table(title, _COLUMNS, rows, right=_NUMBERS)


def _row(position: int, row: Row) -> list[str]:
    layer, known = row.layer, row.known
    name = f"{layer.name} (generated)" if row.generated else layer.name
    if layer.need == OPTIONAL:
        name += " (optional)"
    size = console.human_size(layer.image.size) if layer.image.size else ""
    counts = [str(number) if number else "" for number in (row.files, row.wins, row.loses)]
    if known.problem:
        state = known.problem
    elif known.download and not known.manifest:
        state = f"to download: {console.human_size(known.download)}"
    elif not layer.image.root_hash:
        state = "not made yet"
    else:
        state = layer.image.root_hash[:_SHORT_HASH]
    return [str(position), name, layer.version, size, *counts, state]


def _show_pairs(found: Preview) -> None:
    """Contested paths by pair of packages, with the first few paths of each."""
    pairs = planjson.pairs(found)
    if not pairs:
        print("shadowed nothing: no two packages have one path")
        return
    examples: dict[tuple[int, int], list[str]] = defaultdict(list)
    for one in found.merged.contested:
        examples[one.winner, one.loser].append(printable(f"/{one.path}"))
    rows = []
    for pair in pairs:
        paths = examples[pair["winner_position"], pair["loser_position"]]
        more = f" and {len(paths) - _EXAMPLES} more" if len(paths) > _EXAMPLES else ""
        kinds = ", ".join(f"{count} {kind}" for kind, count in pair["kinds"].items())
        rows.append([pair["winner"], pair["loser"], kinds, " ".join(paths[:_EXAMPLES]) + more])
    console.show_table("shadowed", ["winner", "loser", "kinds", "paths"], rows)


def _show_contested(found: Preview) -> None:
    names = [layer.name for layer in found.system.layers]
    rows = [
        [printable(f'/{one.path}'), names[one.winner], names[one.loser], one.kind,
         checks.severity(one, found.system)]
        for one in found.merged.contested
    ]  # fmt: skip
    console.show_table("shadowed", ["path", "winner", "loser", "kind", "severity"], rows)


def _show_facts(found: Preview) -> None:
    system, costs = found.system, cost.of(found)
    print(f"costs    {costs.loop_devices} loop and {costs.verity_devices} verity devices, "
          f"{console.human_size(costs.disk_bytes)} of packages, about "
          f"{console.human_size(costs.kernel_memory_bytes)} of kernel memory on two CPUs, about "
          f"{costs.estimated_ms / 1000:.1f} s of the agent's time under emulation")  # fmt: skip
    if costs.missing_packages:
        print(f"missing  {costs.missing_packages} packages are not in the store, "
              f"{console.human_size(costs.download_bytes)} to download")  # fmt: skip
    print(f"union    {len(found.merged.paths)} paths{_union(found)}")
    print(f"united   {plan.union(system)}: {found.why}{_index(found)}")
    if found.by_file:
        print(f"files    {found.by_file} packages without devices, where they are sealed with "
              "fs-verity (bootunion seal)")  # fmt: skip
    print(f"kernel   {system.kernel or 'any'} ({system.architecture})")
    if found.signers:
        print(f"signed   by {', '.join(signer[:16] for signer in found.signers)}")


def _index(found: Preview) -> str:
    index = found.system.index_layer
    if index is None:
        return ""
    state = found.index_known.problem if found.index_known and found.index_known.problem else ""
    size = console.human_size(index.image.size)
    return f" ({state or f'{size}, {index.image.root_hash[:_SHORT_HASH]}'})"


def _union(found: Preview) -> str:
    if found.draft:
        return ""
    same = found.digest == found.system.namespace
    return ", the namespace that the list names" if same else ", NOT the namespace in the list"


def show_operations(found: Preview, as_json: bool) -> None:
    """Exactly what the agent will do, in order."""
    if as_json:
        steps = [{"operation": operations.step_name(one), **one._asdict()} for one in found.steps]
        console.show_json(steps)
    else:
        for number, one in enumerate(found.steps, 1):
            print(f"{number:4}  {one.describe()}")


def show_difference(before: SystemList, after: SystemList, found: Difference) -> None:
    """What changes between two lists."""
    print(f"from     {before.title}")
    print(f"to       {after.title}")
    rows = [["added", one.name, "", one.version] for one in found.added]
    rows += [["removed", one.name, one.version, ""] for one in found.removed]
    rows += _moved("upgraded", found.upgraded) + _moved("downgraded", found.downgraded)
    rows += [["rebuilt", one.name, one.version, one.version] for one in found.rebuilt]
    rows += _moved("moved", found.reordered)
    if rows:
        console.show_table("packages", ["what", "package", "from", "to"], rows)
    paths = [["added", printable(f"/{path}"), ""] for path in found.paths_added]
    paths += [["removed", printable(f"/{path}"), ""] for path in found.paths_removed]
    paths += [["changed", printable(f'/{one.path}'), ", ".join(one.what)]
              for one in found.paths_changed]  # fmt: skip
    if paths:
        console.show_table("paths", ["what", "path", "fields"], paths)
    for one in found.privileges:
        print(f"privilege {printable(f'/{one.path}')}: "
              f"{one.before or 'none'} → {one.after or 'none'}")  # fmt: skip
    if not (rows or paths):
        print("nothing changes")
    print(
        f"paths    {len(found.paths_added)} added, {len(found.paths_removed)} removed, "
        f"{len(found.paths_changed)} changed; {len(found.privileges)} change what they may do"
    )
    print(f"fetch    {console.human_size(found.fetched)} of packages that the first list lacks")


def _moved(what: str, found: Iterable[Moved]) -> list[list[str]]:
    return [[what, one.name, str(one.before), str(one.after)] for one in found]
