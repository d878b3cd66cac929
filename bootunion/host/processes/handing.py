"""A process root of what the helper hands over: through dm-verity, without privileges."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from bootunion import operations as op
from bootunion import process
from bootunion.errors import BootunionError
from bootunion.helper import protocol
from bootunion.helper.protocol import Request
from bootunion.operations import Operation
from bootunion.process import Pick, View

from . import asking
from .selecting import Selected

SOCKET_VARIABLE = "BOOTUNION_HELPER"
"""The variable with the helper's socket, where that is another one than the system's."""

Trees = dict[int, int]
"""Trees that were handed over (descriptors), by the layer that they are."""


def socket_path() -> str:
    """Where the helper listens, if it is there."""
    return os.environ.get(SOCKET_VARIABLE) or protocol.SOCKET


def united(selected: Selected, view: View) -> tuple[Selected, View, tuple[tuple[int, ...], ...]]:
    """What is selected, with one layer for each union that the view is made of; and these unions.

    A union is the positions of its packages, top first.
    """
    whole = (tuple(range(len(selected.picks))),) if selected.alone else ()
    groups = tuple(dict.fromkeys([*whole, *(tree.layers for tree in view.trees)]))
    picks = tuple(_as_one(selected.picks, group) for group in groups)
    trees = tuple(tree._replace(layers=(groups.index(tree.layers),)) for tree in view.trees)
    return selected._replace(picks=picks), view._replace(trees=trees), groups


def _as_one(picks: Sequence[Pick], group: Sequence[int]) -> Pick:
    # The handed tree begins where its packages' trees begin.
    layer = picks[group[0]].layer
    return Pick(layer._replace(image=layer.image._replace(root="/")))


def placed(steps: Sequence[Operation], workspace: str, trees: Trees) -> tuple[Operation, ...]:
    """The operations, with the trees put into the workspace before they are united.

    Overlayfs takes no detached mount that another user namespace has made (fs/namespace.c,
    clone_private_mount); one that is in the caller's mount namespace it does.
    """
    places = (op.UseTree(layer, f"{workspace}/handed/{layer}") for layer in trees)
    return (steps[0], *places, *steps[1:])


def ask(picks: Sequence[Pick], groups: Sequence[Sequence[int]]) -> Trees:
    """The trees of these unions, from the helper. Raises BootunionError as `asking.ask`."""
    process.check_count(picks)
    with contextlib.ExitStack() as stack:
        trees: Trees = {}
        for number, group in enumerate(groups):
            hashes = tuple(picks[index].layer.image.root_hash for index in group)
            tree, granted = asking.ask(socket_path(), Request(with_=hashes))
            stack.callback(os.close, tree)
            if granted.packages != hashes:
                raise BootunionError("helper-failed", "it is not what was asked for")
            trees[number] = tree
        stack.pop_all()
    return trees
