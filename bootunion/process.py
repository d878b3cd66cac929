"""The plan of a process root: the root that one process sees, in a mount namespace of its own.

Three shapes, one function each: a whole root made of packages (`for_root`), unions put over single
directories of the caller's root (`for_trees`), and a union that is handed on (`for_handing_on`).
Values in, values out; `initrd.process` carries them out.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import choice, plan
from . import operations as op
from .errors import BootunionError
from .operations import Operation
from .systemlist import MAX_LAYERS, Layer, SystemList
from .values import NamedTuple

# What the machine and its users keep: programs come from packages, these from the caller's root.
CARRIED = ("/dev", "/sys", "/run", "/var", "/home", "/root", "/srv", "/mnt", "/media",
           "/tmp")  # noqa: S108  # fmt: skip
# The same for a root of nothing but packages: no program and no data of the machine is in these.
CARRIED_PURE = ("/dev", "/sys", "/home", "/root", "/tmp")  # noqa: S108
# Who and where the machine is, for a root whose /etc is its packages'.
CARRIED_FILES = ("/etc/passwd", "/etc/group", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname",
                 "/etc/localtime", "/etc/machine-id")  # fmt: skip
# Where packages put programs and what belongs to them, for unions over a distribution's own root.
OVER = ("/usr", "/etc", "/opt")
# Roots of others lie here, and what they are made of.
HIDDEN = ("/run/bootunion/roots", "/run/bootunion/private")

INDEX = "/run/bootunion/private/index"
"""Where a machine that booted a list by its index has that index (plan.Places.kept_index)."""

VERITY = "verity"
"""Layers come through dm-verity devices that all process roots share."""

CHECKED = "checked"
"""Layers come through loop devices; the caller has checked every block of them before."""

GIVEN = "given"
"""The executor is given the layers' trees."""


class Pick(NamedTuple):
    """A package and the position of the store that has it."""

    layer: Layer
    store: int = 0


class Tree(NamedTuple):
    """A union over one directory of the root: of the layers at `layers` (positions, top first).

    With `below`, the directory that it is put over is its lowest layer.
    """

    path: str
    layers: tuple[int, ...]
    below: bool = False


class Base(NamedTuple):
    """A union that is there already, below the first `above` packages: the tree at `path`."""

    path: str
    above: int


class View(NamedTuple):
    """What a process sees beside its packages.

    `carried` are trees and `files` files of the caller's root that stay visible; `hidden`
    directories that are shown empty; `proc` asks for a process file system of the process' own
    namespace.
    """

    carried: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    trees: tuple[Tree, ...] = ()
    hidden: tuple[str, ...] = ()
    proc: bool = False


def check_count(picks: Sequence[Pick], base: Base | None = None) -> None:
    """Refuse more layers than one overlay takes (layers-too-many)."""
    most = MAX_LAYERS - 1 - bool(base)  # one is the frame's, or the directory's below
    if len(picks) > most:
        text = f"{len(picks)} layers are more than the {most} that a process root takes"
        raise BootunionError("layers-too-many", text)


def refusals(system: SystemList, architecture: str, now: int) -> tuple[BootunionError, ...]:
    """Why processes of a machine must not use a list at `now` (seconds since 1970).

    Floor, tries, kernel and upper are about boots: a process root runs on the kernel that there is.
    """
    machine = plan.Machine(architecture, system.kernel)
    found = (*plan.refusals(system, machine), *choice.expired(system, now))
    return tuple(one for one in found if one.code != "upper-unsupported")


def for_root(
    picks: Sequence[Pick], view: View, workspace: str, how: str, base: Base | None = None
) -> tuple[Operation, ...]:
    """The operations after which the calling process' root is the union of `picks` and `base`."""
    root = f"{workspace}/root"
    lower, there = _lower(picks, base)
    frame = len(lower)
    directories = (*view.carried, *(("/proc",) if view.proc else ()))
    lower.append((frame, "/"))
    return (
        op.PrepareWorkspace(workspace),
        *_devices(picks, how),
        *there,
        op.MakeFrame(frame, f"{workspace}/frame", directories, view.files),
        op.MountOverlay(root, tuple(lower), ""),
        *_furnish(picks, view, root, len(lower)),
    )


def for_handed_root(picks: Sequence[Pick], view: View, workspace: str) -> tuple[Operation, ...]:
    """The operations after which the root is the tree that was handed over as layer 0.

    The other layers of `picks` were handed over, too, and are for the trees of `view`. What of the
    caller's trees has no place in that root is not shown: nothing can be added to it.
    """
    root = f"{workspace}/root"
    return (
        op.PrepareWorkspace(workspace),
        op.UseTree(0, root),
        *_furnish(picks, view, root, len(picks), optional=True),
    )


def _furnish(
    picks: Sequence[Pick], view: View, root: str, free: int, *, optional: bool = False
) -> list[Operation]:
    """What makes a union a root to live in, and enters it; layers from `free` on are not taken."""
    return [
        *(op.CarryTree(root, path, optional) for path in (*view.carried, *view.files)),
        *((op.MountProc(root),) if view.proc else ()),
        *_trees(picks, view, root, free),
        *(op.HideDirectory(root, path) for path in view.hidden),
        op.EnterRoot(root),
    ]


def for_trees(picks: Sequence[Pick], view: View, workspace: str, how: str) -> tuple[Operation, ...]:
    """The operations that put `view.trees` over directories of the caller's root."""
    return (
        op.PrepareWorkspace(workspace),
        *_devices(picks, how),
        *_trees(picks, view, "", len(picks)),
        *((op.MountProc("/"),) if view.proc else ()),
        *(op.HideDirectory("/", path) for path in view.hidden),
        op.RemoveWorkspace(workspace, shared=True),
    )


def for_handing_on(
    picks: Sequence[Pick], workspace: str, how: str = VERITY, base: Base | None = None,
    *, trusted: bool,
) -> tuple[Operation, ...]:  # fmt: skip
    """The operations that unite `picks` and `base` as a detached tree, to be entered by others."""
    root = f"{workspace}/root"
    lower, there = _lower(picks, base)
    return (
        op.PrepareWorkspace(workspace),
        *_devices(picks, how),
        *there,
        op.MountOverlay(root, tuple(lower), ""),
        op.TakeTree(root, trusted),
        op.RemoveWorkspace(workspace, shared=True),
    )


def _lower(
    picks: Sequence[Pick], base: Base | None
) -> tuple[list[tuple[int, str]], list[Operation]]:
    """The layers of a union, top first, and what makes those that are no packages."""
    lower = [(index, pick.layer.image.root) for index, pick in enumerate(picks)]
    if base is None:
        return lower, []
    lower.insert(base.above, (len(picks), "/"))
    return lower, [op.CloneTree(len(picks), base.path)]


def _trees(picks: Sequence[Pick], view: View, root: str, free: int) -> list[Operation]:
    steps: list[Operation] = []
    for number, tree in enumerate(view.trees):
        lower = [(index, picks[index].layer.image.root.rstrip("/") + tree.path)
                 for index in tree.layers]  # fmt: skip
        if tree.below:
            steps.append(op.CloneTree(free + number, root + tree.path))
            lower.append((free + number, "/"))
        steps.append(op.MountOverlay(root + tree.path, tuple(lower), "", True, tree.below))
    return steps


def _devices(picks: Sequence[Pick], how: str) -> list[Operation]:
    steps: list[Operation] = []
    if how == GIVEN:
        return steps
    for index, (layer, store) in enumerate(picks):
        image = layer.image
        if how == VERITY:
            steps.append(
                op.ShareDevice(
                    index, store, layer.file_name, image.size, layer.name, image.data_blocks,
                    image.root_hash, image.salt,
                )
            )  # fmt: skip
        else:
            steps.append(op.AttachLoop(index, layer.file_name, image.size, store=store))
        steps.append(op.MountImage(index, layer.name, image.format))
    return steps
