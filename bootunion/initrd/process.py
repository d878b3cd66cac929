"""The executor for process roots: what the agent at boot has no use for.

The same operations are carried out for root's own processes, by the helper for others, and in a
user namespace for those who have no helper.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time

from bootunion import operations as op
from bootunion import verity
from bootunion.errors import BootunionError

from . import dm, mount, openat2
from .executor import Executor

_HANDED_ON = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV
_ATTEMPTS = 50
_PAUSE = 0.02  # seconds; another process is between making a device and loading its table


class ProcessExecutor(Executor):
    """Carries out a process root's operations. `tree` is what `TakeTree` took (descriptor)."""

    tree = -1

    def give(self, layer: int, tree: int) -> None:
        """Take a detached tree that is there already as the layer's; it is closed at the end."""
        self._layers.keep(layer, tree)

    def _share_device(self, todo: op.ShareDevice) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                path = self._found(todo) or self._make_device(todo)
                if not path:
                    time.sleep(_PAUSE)
                    continue
                device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENXIO):
                    raise
                continue  # its last user left in between
            self._close.callback(os.close, device)
            # By number it may be another one by now: look once more while it is held.
            if attempt + 1 < _ATTEMPTS and not self._is_held(todo, device):
                continue
            self._devices[todo.layer] = path
            return
        text = "its dm-verity device comes and goes"
        raise BootunionError("device-mismatch", text, subject=todo.package)

    def _make_device(self, todo: op.ShareDevice) -> str:
        """Make the device; "" when somebody else is making it."""
        self._attach_loop(op.AttachLoop(todo.layer, todo.file, todo.size, store=todo.store))
        try:
            name, path = self._make_verity(todo)
        except OSError as error:
            if error.errno == errno.EBUSY:
                return ""
            raise
        device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._close.callback(os.close, device)
        self._mapper().remove(name)  # with its last user, and that is us so far
        return path

    def _found(self, todo: op.ShareDevice) -> str:
        """The path of the device that is there, "" when there is none.

        Raises OSError, or BootunionError device-mismatch for one that is not the package's.
        """
        try:
            path, targets = self._mapper().look(f"{dm.UUID_PREFIX}{todo.root_hash}", table=True)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return ""
            raise
        if not targets:
            return ""  # its table is not loaded yet
        if not _is_its(todo, targets):
            text = f"{path} has its name and is not its dm-verity device"
            raise BootunionError("device-mismatch", text, subject=todo.package)
        return path

    def _is_held(self, todo: op.ShareDevice, device: int) -> bool:
        try:
            path = self._found(todo)
            return bool(path) and os.stat(path).st_rdev == os.fstat(device).st_rdev
        except OSError:
            return False

    def _clone_tree(self, todo: op.CloneTree) -> None:
        # Without what is mounted below, a user namespace may not have it.
        self.give(todo.layer, mount.clone_path(todo.path, recursive=True))

    def _make_frame(self, todo: op.MakeFrame) -> None:
        os.mkdir(todo.path, 0o755)
        for path in todo.directories:
            os.makedirs(todo.path + path, mode=0o755, exist_ok=True)
        for path in todo.files:
            os.makedirs(os.path.dirname(todo.path + path), mode=0o755, exist_ok=True)
            with open(todo.path + path, "x", encoding="utf-8"):
                pass
        self.give(todo.layer, mount.clone_path(todo.path))

    def _carry_tree(self, todo: op.CarryTree) -> None:
        tree = mount.clone_path(todo.path, recursive=True)
        try:
            _place(tree, todo.root, todo.path)
        except FileNotFoundError:
            if not todo.optional:
                raise
            return
        if self._workspace.startswith(f"{todo.path}/"):
            # It came with the rest: twice as many mounts, and a second way to the packages.
            with contextlib.suppress(OSError):
                mount.unmount(todo.root + self._workspace, mount.MNT_DETACH)

    def _hide_directory(self, todo: op.HideDirectory) -> None:
        empty = f"{self._workspace}/empty"
        os.makedirs(empty, mode=0o755, exist_ok=True)
        tree = mount.clone_path(empty)
        mount.restrict(tree, mount.MOUNT_ATTR_RDONLY, empty)
        try:
            _place(tree, todo.root, todo.path)
        except FileNotFoundError:
            return

    def _mount_proc(self, todo: op.MountProc) -> None:
        with mount.FileSystemContext("proc") as context:
            tree = context.mount(
                mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
            )
        _place(tree, todo.root, "/proc")

    def _take_tree(self, todo: op.TakeTree) -> None:
        self.tree = mount.clone_path(todo.path)
        attributes = mount.MOUNT_ATTR_RDONLY if todo.trusted else _HANDED_ON
        mount.restrict(self.tree, attributes, todo.path)

    def _use_tree(self, todo: op.UseTree) -> None:
        os.makedirs(todo.path, exist_ok=True)
        self._layers.attach(todo.layer, todo.path)

    def _enter_root(self, todo: op.EnterRoot) -> None:
        mount.pivot(todo.path)
        # What undoing would unmount is out of sight, and gone with the old root.
        self._undo.pop_all()


def _place(tree: int, root: str, path: str) -> None:
    """Put a tree at `path` below `root`, following no symlink, and close it."""
    try:
        top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            place = openat2.beneath(top, path, os.O_PATH)
        finally:
            os.close(top)
        try:
            mount.attach_at(tree, place, path)
        finally:
            os.close(place)
    finally:
        os.close(tree)


def _is_its(todo: op.ShareDevice, targets: list[dm.Target]) -> bool:
    """Whether a live table is one dm-verity target with the package's own parameters."""
    if len(targets) != 1 or targets[0].name != "verity":
        return False
    target = targets[0]
    whole = (target.start, target.length) == (0, todo.data_blocks * verity.BLOCK_SIZE)
    return whole and verity.is_table(
        target.text, todo.data_blocks, todo.root_hash, todo.salt, verity.CORRUPTION_OPTIONS
    )


ProcessExecutor.actions = Executor.actions | {
    op.ShareDevice: ProcessExecutor._share_device,
    op.CloneTree: ProcessExecutor._clone_tree,
    op.MakeFrame: ProcessExecutor._make_frame,
    op.CarryTree: ProcessExecutor._carry_tree,
    op.HideDirectory: ProcessExecutor._hide_directory,
    op.MountProc: ProcessExecutor._mount_proc,
    op.TakeTree: ProcessExecutor._take_tree,
    op.UseTree: ProcessExecutor._use_tree,
    op.EnterRoot: ProcessExecutor._enter_root,
}
