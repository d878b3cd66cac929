"""`bootunion plan`: a root before it exists."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from bootunion.codes import EXIT_PLAN
from bootunion.host import console
from bootunion.host.store import Store

from .options import FILE, cache_option, json_option, list_names, store_option, trust_option

if TYPE_CHECKING:
    from bootunion import trust
    from bootunion.host import planning
    from bootunion.listdiff import Difference

_YAML = (".yaml", ".yml")


class _Place(NamedTuple):
    """Where lists and packages are looked for, and for which kernel a plan is."""

    store: Store
    trusted: trust.Trust
    cache: Path
    kernel: str


@click.command()
@click.argument(
    "what", metavar="[LIST|SYSTEM_YAML]", required=False, default="", shell_complete=list_names
)
@click.option("--generation", type=click.IntRange(1), default=None, help="Not the current one.")
@click.option("--kernel", default="", metavar="RELEASE", help="Plan for this kernel release.")
@click.option(
    "--cmdline",
    default="",
    metavar="TEXT",
    help="Plan what a kernel command line asks for: its list and generation.",
)
@click.option("--paths", is_flag=True, help="List each contested path, not pairs of packages.")
@click.option(
    "--why",
    default="",
    metavar="PATH",
    help="Say which package gives PATH, and who is hidden below.",
)
@click.option(
    "--tree",
    default="",
    metavar="DIR",
    help="Show the merged directory DIR with the origin of each entry.",
)
@click.option(
    "--depth", type=click.IntRange(1), default=1, show_default=True, help="How deep --tree goes."
)
@click.option(
    "--diff",
    nargs=2,
    default=None,
    metavar="A B",
    help="Show what changes from list A to list B. Each is LIST, LIST@GENERATION, "
    "`running` (what this machine booted) or a list's file.",
)
@click.option(
    "--against",
    default="",
    metavar="REF",
    help="Also show what changes from REF (as in --diff) to the planned list.",
)
@click.option("--operations", is_flag=True, help="Show exactly what the agent will do.")
@click.option(
    "--deny",
    multiple=True,
    metavar="KIND",
    help="End with 5 when this kind of shadowing or finding is there (again for more; "
    "`--deny list` names them all).",
)
@click.option(
    "--html",
    type=FILE,
    default=None,
    metavar="FILE",
    help="Write the plan as one self-contained page.",
)
@store_option
@trust_option
@cache_option
@json_option
def plan(
    what: str, generation: int | None, kernel: str, cmdline: str, paths: bool, why: str, tree: str,
    depth: int, diff: tuple[str, str] | None, against: str, operations: bool,
    deny: tuple[str, ...], html: Path | None, store_path: Path, trust_path: Path, cache: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Show a root before it exists: layers, costs, what is hidden, what would fail.

    \b
    What is planned is a composed list, or what a system.yaml would become:
      bootunion plan demo                    the current generation
      bootunion plan demo@3                  another one
      bootunion plan system.yaml             not composed yet
      bootunion plan demo --why /bin/sh      which package gives a path
      bootunion plan --diff demo@3 demo@4    what an update changes
      bootunion plan demo --deny privilege   hold a pipeline to it

    Nothing is mounted and no root is needed. Ends with 5 when the root would not boot, or when
    something is there that --deny names.
    """
    from bootunion.host import planview, signing

    kinds = _check_denied(deny)
    place = _Place(
        Store(store_path), signing.read_trust(trust_path, store_path), cache.expanduser(), kernel
    )
    if diff is not None:
        _show_difference(place, *diff, as_json=as_json)
        return
    found = _preview(place, _wanted(what, generation, cmdline))
    if why or tree:
        _show_origin(place, found, why, tree, depth, as_json=as_json)
        return
    denied = _denied(found, kinds)
    if operations:
        planview.show_operations(found, as_json)
    else:
        _show(place, found, denied, against, html, paths=paths, as_json=as_json)
    if denied or not found.boots:
        sys.exit(EXIT_PLAN)


def _wanted(what: str, generation: int | None, cmdline: str) -> str:
    """The reference that the command's words come to."""
    from bootunion import cmdline as kernel_line

    if cmdline and not what:
        settings = kernel_line.parse(cmdline)
        what, generation = settings.list_name, generation or settings.generation or None
    if not what:
        raise click.UsageError("Name a list or a system.yaml, or give --cmdline or --diff.")
    return f"{what}@{generation}" if generation else what


def _preview(place: _Place, reference: str) -> planning.Preview:
    from bootunion.host import planning, references

    if reference.endswith(_YAML):
        return _draft(place, Path(reference))
    found = references.find(reference, place.store, place.trusted)
    gathered = planning.gather(place.store, place.trusted, found.system)
    source = planning.STORE if found.stored else planning.FILE_SOURCE
    return planning.preview(
        found.system, gathered, signers=found.signers, source=source, kernel=place.kernel,
        index=planning.gather_index(place.store, place.trusted, found.system),
    )  # fmt: skip


def _draft(place: _Place, path: Path) -> planning.Preview:
    from bootunion.host import drafting, planning, systemyaml
    from bootunion.host.configure import Progress

    system = systemyaml.read(path)
    with console.progress() as reporter:
        progress = Progress(reporter.stage, reporter.step)
        draft = drafting.draft(system, place.store, place.trusted, place.cache, progress)
    return planning.preview(
        draft.system, draft.gathered, source=planning.SYSTEM_YAML, kernel=place.kernel,
        approve=system.approve,
    )  # fmt: skip


def _check_denied(deny: tuple[str, ...]) -> tuple[str, ...]:
    from bootunion import checks

    if "list" in deny:
        print("\n".join(checks.KINDS))
        sys.exit(0)
    for kind in deny:
        if kind not in checks.KINDS:
            raise click.BadParameter(f"{kind!r} is none of {', '.join(checks.KINDS)}",
                                     param_hint="--deny")  # fmt: skip
    return deny


def _denied(found: planning.Preview, kinds: tuple[str, ...]) -> tuple[str, ...]:
    from bootunion import checks

    return checks.denied(found.findings, found.merged, found.system, kinds)


def _show(
    place: _Place, found: planning.Preview, denied: tuple[str, ...], against: str,
    html: Path | None, *, paths: bool, as_json: bool,
) -> None:  # fmt: skip
    from bootunion.host import planjson, planview

    difference = None
    if against:
        before = _preview(place, against)
        change = _change(before, found)
        difference = planjson.difference_as_json(before.system, found.system, change)
    if as_json or html:
        value = planjson.as_json(found, denied=denied, difference=difference)
        if html:
            _write_page(html, value)
        if as_json:
            console.show_json(value)
            return
    if against:
        planview.show_difference(before.system, found.system, change)
        print()
    planview.show(found, denied, every_path=paths)
    if html:
        print(f"page     {html}")


def _write_page(path: Path, value: dict[str, Any]) -> None:
    from bootunion.host.pages import plan_page
    from bootunion.host.store import write_atomic

    write_atomic(path, plan_page(value).encode())


def _change(before: planning.Preview, after: planning.Preview) -> Difference:
    from bootunion import listdiff

    return listdiff.compare(before.system, after.system, before.merged, after.merged)


def _show_difference(place: _Place, one: str, other: str, *, as_json: bool) -> None:
    from bootunion.host import planjson, planview

    before, after = _preview(place, one), _preview(place, other)
    change = _change(before, after)
    if as_json:
        console.show_json(planjson.difference_as_json(before.system, after.system, change))
    else:
        planview.show_difference(before.system, after.system, change)


def _show_origin(
    place: _Place, found: planning.Preview, why: str, tree: str, depth: int, *, as_json: bool
) -> None:
    from bootunion.host import origin

    if tree:
        entries = origin.tree(found, tree, depth)
        if as_json:
            console.show_json(origin.tree_as_json(found, entries))
        else:
            origin.show_tree(found, entries)
        return
    answer = origin.why(found, why, origin.lookup(place.store, found))
    if as_json:
        console.show_json(origin.why_as_json(found, answer))
    else:
        origin.show_why(found, answer)
