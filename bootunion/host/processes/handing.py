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
from bootunion.values import NamedTuple

from . import asking
from .selecting import Selected, Under

SOCKET_VARIABLE = "BOOTUNION_HELPER"
"""The variable with the helper's socket, where that is another one than the system's."""

Trees = dict[int, int]
"""Trees that were handed over (descriptors), by the layer that they are."""


def socket_path() -> str:
    """Where the helper listens, if it is there."""
    return os.environ.get(SOCKET_VARIABLE) or protocol.SOCKET


# Of more packages that make a root the helper is asked for one union of all.
_MOST_ALONE = 32


class Handed(NamedTuple):
    """What is asked of the helper: a tree for each of `groups` (positions of packages, top first).

    `picks` and `view` are what is made of the trees; with `whole` the first tree is the root.
    """

    groups: tuple[tuple[int, ...], ...]
    picks: tuple[Pick, ...]
    view: View
    whole: bool


def handed(selected: Selected, view: View) -> Handed:
    """What to ask for, so that no overlay comes to lie on an overlay.

    Overlayfs shows files of its layers by the numbers that they have there (without xino), told
    apart by a device for each layer. Over an overlay it has one device for all of them: two
    libraries are then one to the loader.
    """
    picks = tuple(_from_its_top(pick) for pick in selected.picks)
    if not selected.under and (not selected.alone or len(picks) <= _MOST_ALONE):
        return Handed(tuple((one,) for one in range(len(picks))), picks, view, whole=False)
    single = tuple(dict.fromkeys(one for tree in view.trees for one in tree.layers))
    trees = tuple(
        tree._replace(layers=tuple(1 + single.index(one) for one in tree.layers))
        for tree in view.trees
    )
    groups = (tuple(range(len(picks))), *((one,) for one in single))
    whole = Pick(selected.under.index_layer) if selected.under else picks[0]
    parts = (whole, *(picks[one] for one in single))
    return Handed(groups, parts, view._replace(trees=trees), whole=True)


def _from_its_top(pick: Pick) -> Pick:
    # The handed tree begins where its package's tree begins.
    return Pick(pick.layer._replace(image=pick.layer.image._replace(root="/")))


def placed(steps: Sequence[Operation], workspace: str, trees: Trees) -> tuple[Operation, ...]:
    """The operations, with the trees put into the workspace before they are united.

    Overlayfs takes no detached mount that another user namespace has made (fs/namespace.c,
    clone_private_mount); one that is in the caller's mount namespace it does.
    """
    used = {one.layer for one in steps if isinstance(one, op.UseTree)}
    places = (
        op.UseTree(layer, f"{workspace}/handed/{layer}") for layer in trees if layer not in used
    )
    return (steps[0], *places, *steps[1:])


def ask(
    picks: Sequence[Pick], groups: Sequence[Sequence[int]], under: Under | None = None
) -> Trees:
    """The trees of these unions, from the helper; the machine's list is below the first one.

    Raises BootunionError as `asking.ask`.
    """
    process.check_count(picks)
    with contextlib.ExitStack() as stack:
        trees: Trees = {}
        for number, group in enumerate(groups):
            hashes = tuple(picks[index].layer.image.root_hash for index in group)
            request, all_of_it = Request(with_=hashes), hashes
            if under and not number:
                request = Request(under.name, under.generation, hashes)
                all_of_it = (*hashes, under.index_layer.image.root_hash)
            tree, granted = asking.ask(socket_path(), request)
            stack.callback(os.close, tree)
            if granted.packages != all_of_it:
                raise BootunionError("helper-failed", "it is not what was asked for")
            trees[number] = tree
        stack.pop_all()
    return trees
