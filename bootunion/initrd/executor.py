"""Carries out operations: at boot for the agent, on the host for unions in a namespace.

Whatever was made is taken away again, in reverse order, unless every operation succeeded.
"""

from __future__ import annotations

import errno
import os
import time

from bootunion import operations as op
from bootunion import verity
from bootunion.errors import BootunionError
from bootunion.values import NamedTuple

from . import dm, fsverity, loop, mount
from .layers import Layers
from .scopes import Stack, suppress
from .store import Store

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import ClassVar

# Overlay features that would let attributes inside a layer send reads elsewhere are off. With xino
# the layer stands in the upper bits of an inode's number; without it in a device number, which an
# overlay on top (a system extension's) loses: two packages' libraries are then one file to ld.so.
_SAFE = {"metacopy": "off", "redirect_dir": "nofollow", "index": "off", "xino": "on"}
# What a kernel says that has no EROFS, or one that takes a single device (before Linux 5.16).
_NOT_KNOWN = (errno.EINVAL, errno.ENODEV, errno.EOPNOTSUPP)
# What a sealed file does without.
_OF_DEVICES = (op.AttachLoop, op.CreateVerity)
_STORE_ATTRIBUTES = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
_UPPER_ATTRIBUTES = _STORE_ATTRIBUTES | mount.MOUNT_ATTR_RDONLY


class Step(NamedTuple):
    """One operation that was carried out; times are CLOCK_MONOTONIC in nanoseconds."""

    name: str
    layer: int | None
    start: int
    end: int


class Executor:
    """Carries out operations over stores. A context manager: leaving it by an exception undoes.

    `interface` is how the layers reached overlayfs: "descriptor" (Linux 6.15 and later) or "path".
    `by_file` counts the packages that are mounted as sealed files, without a block device;
    `left_out` has the optional layers that could not be had, by position, and why.
    """

    actions: ClassVar[dict[type, Callable[..., None]]]

    def __init__(
        self, stores: Store | Sequence[Store], record: Callable[[Step], None] | None = None
    ) -> None:
        self._stores = (stores,) if isinstance(stores, Store) else tuple(stores)
        self._record = record or (lambda _step: None)
        self._undo = Stack()
        self._close = Stack()
        self._devices: dict[int, str] = {}
        self._loops: dict[int, int] = {}
        self._files: dict[int, int] = {}
        self._layers = Layers()
        self._verity: dict[int, str] = {}
        # Opened once, not once for each layer.
        self._loop: loop.Control | None = None
        self._control: dm.Control | None = None
        self._workspace = ""
        self.interface = ""
        self.by_file = 0
        self.left_out: dict[int, BootunionError] = {}

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        # Descriptors go first: they hold what is about to be unmounted and removed.
        self._close.close()
        self._layers.close()
        for held in (*self._loops.values(), *self._files.values()):
            os.close(held)
        self._files.clear()
        if kind is None:
            self._undo.pop_all()
        self._undo.close()

    def use(self, layer: int, device: str) -> None:
        """Take a device that is there already as the layer's."""
        self._devices[layer] = device

    def execute(self, operations: Iterable[op.Operation]) -> None:
        """Carry out `operations` in order.

        Raises BootunionError: the store's refusals, kernel-call, verity-io where a package's file
        system does not come up through dm-verity, index-unsupported or file-mount-unsupported.
        """
        for operation in operations:
            layer = getattr(operation, "layer", None)
            if layer in self.left_out:
                continue
            if layer in self._files and isinstance(operation, _OF_DEVICES):
                continue
            start = time.monotonic_ns()
            try:
                self.actions[type(operation)](self, operation)
            except OSError as error:
                self._refused(operation, layer, _kernel_refusal(operation, error))
            except BootunionError as error:
                self._refused(operation, layer, error)
            self._record(Step(op.step_name(operation), layer, start, time.monotonic_ns()))

    def _refused(self, operation: op.Operation, layer: int | None, error: BootunionError) -> None:
        """Go without an optional layer; anything else is raised."""
        if layer is None or not getattr(operation, "optional", False):
            raise error
        # What the kernel cannot do for any package is no reason to go without one.
        if error.code == "file-mount-unsupported":
            raise error
        self.left_out[layer] = error
        if layer in self._files:
            os.close(self._files.pop(layer))
        if layer in self._verity:
            dm.remove_all((self._verity.pop(layer),))

    def _prepare_workspace(self, todo: op.PrepareWorkspace) -> None:
        os.makedirs(todo.path, mode=0o700, exist_ok=True)
        mount.mount("bootunion", todo.path, "tmpfs", mount.MS_NODEV | mount.MS_NOSUID, "mode=0700")
        self._undo.callback(_quietly, mount.unmount, todo.path, mount.MNT_DETACH)
        # A mount whose parent is shared cannot be moved, and systemd shares everything.
        mount.mount("", todo.path, "", mount.MS_PRIVATE)
        self._workspace = self._layers.workspace = todo.path

    def _bind_file(self, todo: op.BindFile) -> None:
        file, size = self._stores[todo.store].open("packages", todo.file)
        bound = False
        try:
            bound = size == todo.size and fsverity.measure(file) == todo.digest
        finally:
            if not bound:
                os.close(file)
        if bound:
            # The kernel opens what this names: the file whose digest was compared, and no other.
            self._devices[todo.layer] = f"/proc/self/fd/{file}"
            self._files[todo.layer] = file

    def _release_files(self) -> None:
        # The mount holds them from here on.
        self.by_file += len(self._files)
        while self._files:
            os.close(self._files.popitem()[1])

    def _attach_loop(self, todo: op.AttachLoop) -> None:
        image, size = self._stores[todo.store].open("packages", todo.file)
        try:
            if size != todo.size:
                text = f"has {size} bytes, the list says {todo.size}"
                raise BootunionError("file-changed", text, subject=todo.file)
            if self._loop is None:
                self._loop = self._close.enter_context(loop.Control())
            device, path = self._loop.attach(image, size, todo.file)
        finally:
            os.close(image)
        # Held until the verity device or the mount holds it: then it clears itself.
        self._loops[todo.layer] = device
        self._devices[todo.layer] = path

    def _create_verity(self, todo: op.CreateVerity) -> None:
        name, path = self._make_verity(todo, verity.CORRUPTION_OPTIONS[todo.corruption])
        # One descriptor for each of thousands of packages would be more than a process may have.
        os.close(self._loops.pop(todo.layer))
        if not self._verity:
            self._undo.callback(self._remove_devices)
        self._verity[todo.layer] = name
        self._devices[todo.layer] = path

    def _remove_devices(self) -> None:
        dm.remove_all(tuple(self._verity.values()))

    def _make_verity(
        self, todo: op.CreateVerity | op.ShareDevice, options: str = ""
    ) -> tuple[str, str]:
        """The name and path of a new device over the layer's loop device."""
        name = f"bootunion-{todo.root_hash[:16]}"
        table = verity.table_line(
            self._devices[todo.layer], todo.data_blocks, todo.root_hash, todo.salt, options=options
        )
        size = todo.data_blocks * verity.BLOCK_SIZE
        uuid = f"{dm.UUID_PREFIX}{todo.root_hash}"
        return name, self._mapper().create(name, uuid, "verity", table, size)

    def _mapper(self) -> dm.Control:
        if self._control is None:
            self._control = self._close.enter_context(dm.Control())
        return self._control

    def _mount_image(self, todo: op.MountImage) -> None:
        self._layers.keep(todo.layer, mount.image(todo.format, self._devices[todo.layer]))
        if self._files:
            self._release_files()

    def _mount_index(self, todo: op.MountIndex) -> None:
        with mount.FileSystemContext(todo.format) as context:
            context.flag("ro")
            context.string("source", self._devices[todo.layer])
            # The kernel numbers them as they come: their order is the list's, which is signed.
            for layer in range(todo.layers):
                context.string("device", self._devices[layer])
            tree = context.mount(mount.MOUNT_ATTR_RDONLY)
        self._layers.keep(todo.layer, tree)
        self._release_files()

    def _mount_tmpfs(self, todo: op.MountTmpfs) -> None:
        os.makedirs(todo.path, exist_ok=True)
        mount.mount("bootunion-upper", todo.path, "tmpfs", 0, "mode=0755")
        self._undo.callback(_quietly, mount.unmount, todo.path, mount.MNT_DETACH)

    def _mount_overlay(self, todo: op.MountOverlay) -> None:
        lower = self._present(todo)
        if not lower:
            return
        os.makedirs(todo.path, exist_ok=True)
        options = dict(_SAFE)
        if todo.upper:
            for name in ("upper", "work"):
                os.makedirs(f"{todo.upper}/{name}", mode=0o755, exist_ok=True)
            options.update(upperdir=f"{todo.upper}/upper", workdir=f"{todo.upper}/work")
        if len(lower) == 1 and not todo.upper:
            # Overlayfs refuses to unite one (fs/overlayfs/super.c, ovl_fill_super).
            self._layers.show(*lower[0], todo.path)
        else:
            self.interface = self._layers.unite(
                lower, todo.path, options, writable=bool(todo.upper)
            )
        self._undo.callback(_quietly, mount.unmount, todo.path, mount.MNT_DETACH)

    def _present(self, todo: op.MountOverlay) -> list[tuple[int, str]]:
        present = [one for one in todo.lower if one[0] not in self.left_out]
        if todo.sparse:
            present = [one for one in present if self._layers.has(*one)]
        # The directory by itself is there already.
        return present if len(present) > 1 or not todo.below else []

    def _keep_upper(self, todo: op.KeepUpper) -> None:
        os.makedirs(os.path.dirname(todo.path), mode=0o700, exist_ok=True)
        os.makedirs(todo.path, exist_ok=True)
        tree = mount.clone_path(f"{todo.upper}/upper")
        try:
            # Overlayfs is undefined about an upper that somebody else writes to.
            mount.restrict(tree, _UPPER_ATTRIBUTES, todo.upper)
            mount.attach(tree, todo.path)
        finally:
            os.close(tree)
        self._undo.callback(_quietly, mount.unmount, todo.path, mount.MNT_DETACH)

    def _keep_index(self, todo: op.KeepIndex) -> None:
        os.makedirs(os.path.dirname(todo.path), mode=0o700, exist_ok=True)
        os.makedirs(todo.path, exist_ok=True)
        self._layers.show(todo.layer, "/", todo.path)
        self._undo.callback(_quietly, mount.unmount, todo.path, mount.MNT_DETACH)

    def _place_store(self, todo: op.PlaceStore) -> None:
        tree = mount.clone_tree(self._stores[0].fd, self._stores[0].name)
        try:
            # Whoever writes to the store must not hand the machine's users a setuid program.
            mount.restrict(tree, _STORE_ATTRIBUTES, self._stores[0].name)
            mount.attach(tree, todo.path)
        except FileNotFoundError:
            text = f"the union has no directory {op_mount_point(todo.path)} for the store"
            raise BootunionError("kernel-call", text) from None
        finally:
            os.close(tree)
        self._undo.callback(_quietly, mount.unmount, todo.path, mount.MNT_DETACH)

    def _write_file(self, todo: op.WriteFile) -> None:
        os.makedirs(os.path.dirname(todo.path), exist_ok=True)
        with open(todo.path, "w", encoding="utf-8") as file:
            file.write(todo.text)

    def _replace_sysroot(self, todo: op.ReplaceSysroot) -> None:
        if os.path.ismount(todo.sysroot):
            mount.unmount(todo.sysroot, mount.MNT_DETACH)
        os.makedirs(todo.sysroot, exist_ok=True)
        mount.move(todo.root, todo.sysroot)
        self._undo.callback(_quietly, mount.unmount, todo.sysroot, mount.MNT_DETACH)

    def _remove_workspace(self, todo: op.RemoveWorkspace) -> None:
        mount.unmount(todo.path, mount.MNT_DETACH)
        if not todo.shared:
            os.rmdir(todo.path)


Executor.actions = {
    op.PrepareWorkspace: Executor._prepare_workspace,
    op.BindFile: Executor._bind_file,
    op.AttachLoop: Executor._attach_loop,
    op.CreateVerity: Executor._create_verity,
    op.MountImage: Executor._mount_image,
    op.MountIndex: Executor._mount_index,
    op.MountTmpfs: Executor._mount_tmpfs,
    op.MountOverlay: Executor._mount_overlay,
    op.KeepUpper: Executor._keep_upper,
    op.KeepIndex: Executor._keep_index,
    op.PlaceStore: Executor._place_store,
    op.WriteFile: Executor._write_file,
    op.ReplaceSysroot: Executor._replace_sysroot,
    op.RemoveWorkspace: Executor._remove_workspace,
}


def op_mount_point(path: str) -> str:
    """The last component of a mount point, as the new root will see it."""
    return f"/{path.rpartition('/')[2]}"


def _quietly(action: Callable[..., None], *arguments: object) -> None:
    # Undoing goes on whatever one step of it says: the first error is the one to report.
    with suppress(OSError):
        action(*arguments)


def _kernel_refusal(operation: op.Operation, error: OSError) -> BootunionError:
    code = "kernel-call"
    if isinstance(operation, op.MountImage | op.MountIndex):
        code = "verity-io"
        if error.errno == errno.ENOTBLK:
            code = "file-mount-unsupported"
    if isinstance(operation, op.MountIndex) and error.errno in _NOT_KNOWN:
        code = "index-unsupported"
    subject = getattr(operation, "package", "") or getattr(operation, "file", "")
    return BootunionError(code, f"cannot {operation.describe()}: {error.strerror}", subject=subject)
