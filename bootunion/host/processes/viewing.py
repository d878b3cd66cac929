"""What of the machine a process sees beside its packages."""

from __future__ import annotations

import os
from collections.abc import Iterable

from bootunion import process
from bootunion.process import Tree, View

from .selecting import Selected


def view(selected: Selected, *, pure: bool, processes: bool) -> View:
    """What stays visible; `processes` asks for a process namespace of its own.

    A root over the system keeps the machine's /etc, with what the packages above bring to it.
    """
    above = tuple(range(selected.above))
    if not selected.alone:
        trees = tuple(Tree(path, above, below=True) for path in process.OVER if os.path.isdir(path))
        return View(trees=trees, hidden=process.HIDDEN, proc=processes)
    if pure:
        carried = (*process.CARRIED_PURE, f"/run/user/{os.getuid()}")
        files = tuple(path for path in process.CARRIED_FILES if os.path.isfile(path))
        return View(_there(carried), files, proc=True)
    return View(
        carried=_there((*process.CARRIED, "/etc", *(() if processes else ("/proc",)))),
        trees=(Tree("/etc", above, below=True),) if above else (),
        hidden=process.HIDDEN,
        proc=processes,
    )


def _there(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(path for path in paths if os.path.isdir(path))
