"""How this person's process root is made: with root's rights, by the helper, or without either."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bootunion import process
from bootunion.errors import BootunionError
from bootunion.operations import Operation
from bootunion.process import View

from ..console import Reporter
from . import checking, entering, searching
from .searching import Place
from .selecting import Selected

WORKSPACE = Path("/run/bootunion/process")
VERIFICATION = "BOOTUNION_VERIFICATION"
"""The variable that tells the program how its packages are checked: `verity` or `checked`."""

_WEAKER = "packages were checked before they are used, not while they are read"


def plan(selected: Selected, view: View) -> tuple[Operation, ...]:
    """What `job` would have done, with dm-verity."""
    return _steps(selected, view, WORKSPACE, process.VERITY)


def _steps(selected: Selected, view: View, workspace: Path, how: str) -> tuple[Operation, ...]:
    if not selected.alone:
        return process.for_trees(selected.picks, view, str(workspace), how)
    return process.for_root(selected.picks, view, str(workspace), how, selected.base)


def job(
    selected: Selected, view: View, search: Sequence[Place], reporter: Reporter
) -> entering.Job:
    """The job that makes the root here; packages are checked now where the kernel does not.

    Raises BootunionError layers-too-many, root-hash-mismatch, program-missing …
    """
    process.check_count(selected.picks, selected.base)
    if os.geteuid() != 0:
        return _without_privileges(selected, view, search, reporter)
    how = process.VERITY if checking.have_device_mapper() else process.CHECKED
    if how == process.CHECKED:
        _check(selected, search, WORKSPACE.parent / "checked", reporter)
        _say_weaker("this kernel has no device mapper")
    os.environ[VERIFICATION] = how
    steps = _steps(selected, view, WORKSPACE, how)
    stores = tuple(place.store.path for place in search)
    return entering.Job(steps, stores, processes=view.proc)


def _without_privileges(
    selected: Selected, view: View, search: Sequence[Place], reporter: Reporter
) -> entering.Job:
    handed, why = _by_helper(selected, view)
    if handed is not None:
        return handed
    if selected.under:
        text = "is united by an index, which takes root's rights or the helper"
        raise BootunionError("privilege-missing", f"{text}; {why}", subject="the machine's list")
    own = searching.user_store()
    _check(selected, search, own / "checked", reporter)
    _say_weaker(why)
    os.environ[VERIFICATION] = process.CHECKED
    view = view._replace(proc=True, carried=tuple(one for one in view.carried if one != "/proc"))
    return entering.Job(
        _steps(selected, view, own / "root", process.GIVEN),
        user=True, processes=True,
        prepare=lambda: _by_fuse(selected, search, why),
    )  # fmt: skip


def _by_fuse(selected: Selected, search: Sequence[Place], why: str) -> dict[int, int]:
    """The packages' trees by squashfuse; where it is missing, `why` it is needed is said, too."""
    from . import fuse  # noqa: PLC0415 - of no use to root

    try:
        return fuse.mount_all(selected.picks, search)
    except BootunionError as error:
        if error.code != "program-missing":
            raise
        raise BootunionError(error.code, f"{error.message}; {why}", subject=error.subject) from None


def _by_helper(selected: Selected, view: View) -> tuple[entering.Job | None, str]:
    """The job where the helper mounts the packages; or None and why it does not."""
    from . import handing  # noqa: PLC0415 - of no use to root

    if not os.path.exists(handing.socket_path()):
        return None, "there are neither privileges nor a helper"
    wish = handing.handed(selected, view)
    try:
        trees = handing.ask(selected.picks, wish.groups, selected.under)
    except BootunionError as refusal:
        # It knows the system's packages only; a person's own are mounted by themselves.
        return None, f"the helper has not mounted them ({refusal})"
    os.environ[VERIFICATION] = process.VERITY
    workspace = searching.user_store() / "root"
    if wish.whole:
        steps = process.for_handed_root(wish.picks, wish.view, str(workspace))
    else:
        steps = _steps(selected._replace(picks=wish.picks), view, workspace, process.GIVEN)
    steps = handing.placed(steps, str(workspace), trees)
    return entering.Job(steps, user=True, processes=view.proc, prepare=lambda: trees), ""


def _check(selected: Selected, search: Sequence[Place], memory: Path, reporter: Reporter) -> None:
    reporter.stage("checking packages", len(selected.picks))
    checking.check(selected.picks, search, memory, reporter.step)


def _say_weaker(why: str) -> None:
    if sys.stderr.isatty():
        print(f"bootunion: {why}: {_WEAKER}", file=sys.stderr)
