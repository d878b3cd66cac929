"""What can be done to make a root: frozen values, each with a description.

The planner makes a tuple of these and `initrd.executor` carries them out; `bootunion plan
--operations` prints them. They say what, never how: which kernel interface serves an operation is
the executor's business.

`layer` is the layer's position in the list, 0 at the top, and ties the operations of one package
together: what one makes (a loop device, a verity device, a mount) the next one takes. When an
`optional` one fails, the layer is left out and the rest goes on.
"""

from __future__ import annotations

from .values import NamedTuple


class PrepareWorkspace(NamedTuple):
    """A private tmpfs at `path`, where mounts can be made and moved unseen."""

    path: str

    def describe(self) -> str:
        return f"prepare a private workspace at {self.path}"


class BindFile(NamedTuple):
    """Open `packages/<file>` of a store once; its fs-verity digest must be `digest`.

    The file itself is mounted then, and the layer's next two operations are passed over. A file
    that is not sealed, or differently, is left to them: they check it as well.
    """

    layer: int
    package: str
    file: str
    size: int
    digest: str
    optional: bool = False
    store: int = 0

    def describe(self) -> str:
        return f"bind {self.file} to fs-verity digest {self.digest}; else, without one:"


class AttachLoop(NamedTuple):
    """Open `packages/<file>` of a store once, check its size in bytes, make a loop device.

    `store` is the store's position among those that the executor was given.
    """

    layer: int
    file: str
    size: int
    optional: bool = False
    store: int = 0

    def describe(self) -> str:
        return f"attach {self.file} ({self.size} bytes) to a loop device, read-only"


class CreateVerity(NamedTuple):
    """A dm-verity device over the layer's loop device; every read is checked from here on.

    `corruption` says what a bad block does: one of `systemlist.CORRUPTIONS`.
    """

    layer: int
    package: str
    data_blocks: int
    root_hash: str
    salt: str
    optional: bool = False
    corruption: str = "eio"

    def describe(self) -> str:
        text = f"bind {self.package} to root hash {self.root_hash} by dm-verity"
        return text if self.corruption == "eio" else f"{text}; a bad block means {self.corruption}"


class ShareDevice(NamedTuple):
    """A package's dm-verity device that all process roots share, over `packages/<file>`.

    One that is there is used; a new one goes away with its last user.
    """

    layer: int
    store: int
    file: str
    size: int
    package: str
    data_blocks: int
    root_hash: str
    salt: str

    def describe(self) -> str:
        return f"open {self.package} by its dm-verity device of root hash {self.root_hash}"


class MountImage(NamedTuple):
    """Mount the layer's file system, detached: it enters no mount table yet."""

    layer: int
    package: str
    format: str
    optional: bool = False

    def describe(self) -> str:
        return f"mount {self.package} ({self.format}), read-only"


class MountIndex(NamedTuple):
    """Mount the index, detached: its files lie in the devices of layers 0 to `layers` - 1."""

    layer: int
    package: str
    format: str
    layers: int

    def describe(self) -> str:
        return f"mount {self.package} ({self.format}) over the devices of {self.layers} packages"


class MountTmpfs(NamedTuple):
    """A tmpfs at `path` that holds a volatile upper."""

    path: str

    def describe(self) -> str:
        return f"mount a tmpfs for the upper at {self.path}"


class MountOverlay(NamedTuple):
    """Unite the layers, top first, at `path`.

    `lower` are (layer, directory inside its image). `upper` is the directory that has `upper/` and
    `work/`, "" for a read-only root. A layer of a `sparse` union that lacks the directory is
    passed over; when all do, nothing is mounted, nor is one that is `below`, at `path` already.
    """

    path: str
    lower: tuple[tuple[int, str], ...]
    upper: str
    sparse: bool = False
    below: bool = False

    def describe(self) -> str:
        writable = f"upper {self.upper}" if self.upper else "read-only"
        return f"unite {len(self.lower)} layers with overlayfs at {self.path}, {writable}"


class CloneTree(NamedTuple):
    """The caller's tree at `path`, as a layer."""

    layer: int
    path: str

    def describe(self) -> str:
        return f"take {self.path} of the caller's root as a layer"


class MakeFrame(NamedTuple):
    """A layer of empty directories and files: where a root's other file systems are put."""

    layer: int
    path: str
    directories: tuple[str, ...]
    files: tuple[str, ...]

    def describe(self) -> str:
        return f"make places for {len(self.directories) + len(self.files)} trees of the caller"


class CarryTree(NamedTuple):
    """Show the caller's `path` at the same path below `root`, with all that is mounted there.

    Where the root has no such place it is refused, unless `optional`.
    """

    root: str
    path: str
    optional: bool = False

    def describe(self) -> str:
        return f"show the caller's {self.path}"


class HideDirectory(NamedTuple):
    """Put an empty directory over `path` below `root`; where there is none, nothing is done."""

    root: str
    path: str

    def describe(self) -> str:
        return f"hide what is in {self.path}"


class MountProc(NamedTuple):
    """Mount the process file system of the caller's process namespace below `root`."""

    root: str

    def describe(self) -> str:
        return "show the processes of the namespace at /proc"


class TakeTree(NamedTuple):
    """Take the union at `path` as a detached tree, with attributes, to be handed on."""

    path: str
    trusted: bool

    def describe(self) -> str:
        return f"take the union{'' if self.trusted else ', without setuid and devices,'} as a tree"


class UseTree(NamedTuple):
    """Put a detached tree that was handed over at `path`."""

    layer: int
    path: str

    def describe(self) -> str:
        return f"put what was handed over at {self.path}"


class EnterRoot(NamedTuple):
    """Make `path` the root of this mount namespace; the old root is in it no more."""

    path: str

    def describe(self) -> str:
        return f"make {self.path} the root"


class KeepUpper(NamedTuple):
    """Show the upper read-only at `path`, below a directory for root alone.

    Nothing else tells what of the root the upper gives and what the layers do.
    """

    upper: str
    path: str

    def describe(self) -> str:
        return f"show the upper, read-only and to root alone, at {self.path}"


class KeepIndex(NamedTuple):
    """Show the index at `path`, below a directory for root alone.

    Roots of processes are made of it: to mount it again would take every package's device.
    """

    layer: int
    path: str

    def describe(self) -> str:
        return f"keep the index for the roots of processes, at {self.path}"


class PlaceStore(NamedTuple):
    """Make the store visible at `path` in the new root: nothing in it is run or is a device."""

    path: str

    def describe(self) -> str:
        return f"place the store at {self.path}"


class WriteFile(NamedTuple):
    """A small run-time file for the booted system."""

    path: str
    text: str

    def describe(self) -> str:
        return f"write {self.path}"


class ReplaceSysroot(NamedTuple):
    """Take away what is mounted at `sysroot` and put the union at `root` in its place."""

    sysroot: str
    root: str

    def describe(self) -> str:
        return f"put the root in the place of what is mounted at {self.sysroot}"


class RemoveWorkspace(NamedTuple):
    """Take the workspace away; the layers live on inside the union, in no mount table.

    Its directory stays when `shared`: removing it would take other namespaces' workspaces away.
    """

    path: str
    shared: bool = False

    def describe(self) -> str:
        return f"remove the workspace {self.path}"


Operation = (
    PrepareWorkspace
    | BindFile
    | AttachLoop
    | CreateVerity
    | ShareDevice
    | MountImage
    | MountIndex
    | MountTmpfs
    | MountOverlay
    | CloneTree
    | MakeFrame
    | CarryTree
    | HideDirectory
    | MountProc
    | TakeTree
    | UseTree
    | EnterRoot
    | KeepUpper
    | KeepIndex
    | PlaceStore
    | WriteFile
    | ReplaceSysroot
    | RemoveWorkspace
)


_step_names: dict[type, str] = {}


def step_name(operation: Operation) -> str:
    """The operation's name as it stands in `boot.json`: "attach-loop", "create-verity" …"""
    kind = type(operation)
    if kind not in _step_names:
        name = kind.__name__
        spelt = "".join(f"-{char.lower()}" if char.isupper() else char for char in name)
        _step_names[kind] = spelt[1:]
    return _step_names[kind]
