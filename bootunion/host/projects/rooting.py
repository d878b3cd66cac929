"""A prepared project as a process root: over the caller's root, or with packages of a list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bootunion import process
from bootunion.process import Pick, Tree, View
from bootunion.trust import Trust

from ..processes.searching import Place
from ..processes.selecting import Selected
from ..store import Store
from . import Prepared

NOTHING = Selected((), 0, alone=False)
"""For a project that asks for no packages but its own."""

# Root hashes that are remembered decide; no manifest of this place is looked for.
_NOBODY = Trust({}, {})


def add(
    prepared: Prepared, selected: Selected, view: View, search: Sequence[Place]
) -> tuple[Selected, View, tuple[Place, ...]]:
    """`selected` and its `view` with the project's packages, and the search path for both."""
    first = len(selected.picks)
    picks = tuple(Pick(layer, len(search)) for layer in prepared.layers)
    trees = tuple(
        Tree(tree.path, tuple(first + index for index in tree.layers), tree.below)
        for tree in prepared.trees
    )
    return (
        selected._replace(picks=(*selected.picks, *picks)),
        # The project's come last: what it has at /usr/local lies over what other packages have.
        view._replace(
            trees=(*view.trees, *trees),
            hidden=tuple(dict.fromkeys((*view.hidden, *prepared.hidden))),
        ),
        (*search, Place(Store(Path(prepared.stores[0])), _NOBODY)),
    )


def view(*, processes: bool) -> View:
    """What is seen beside a project that asks for no packages but its own: the caller's root."""
    return View(hidden=process.HIDDEN, proc=processes)
