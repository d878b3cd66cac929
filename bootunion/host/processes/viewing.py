"""What of the machine a process sees beside its packages."""

from __future__ import annotations

import os

from bootunion import process
from bootunion.process import Tree, View

from .selecting import Selected


def view(selected: Selected, *, pure: bool, processes: bool) -> View:
    """The view of a whole root: `processes` asks for a process namespace of its own.

    A root over the system keeps the machine's /etc, with what the packages above bring to it.
    """
    carried: tuple[str, ...] = (*process.CARRIED, "/etc")
    files: tuple[str, ...] = ()
    above = tuple(range(selected.above))
    trees: tuple[Tree, ...] = (Tree("/etc", above, below=True),) if above else ()
    if pure:
        carried = (*process.CARRIED_PURE, f"/run/user/{os.getuid()}")
        files, trees = process.CARRIED_FILES, ()
    proc = pure or processes
    if proc:
        carried = tuple(one for one in carried if one != "/proc")
    return View(
        base=selected.base,
        carried=tuple(path for path in carried if os.path.isdir(path)),
        files=tuple(path for path in files if os.path.isfile(path)),
        trees=trees,
        hidden=process.HIDDEN,
        proc=proc,
    )
