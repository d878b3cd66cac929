"""The layers' mounts, and how overlayfs gets them.

They are detached: they are in no mount table, which keeps mount namespaces cheap. Kernels before
6.15 take no such layers; there they are put into the workspace's mount table for a while.
"""

from __future__ import annotations

import errno
import os

from . import mount, openat2
from .scopes import Stack

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Layers:
    """The mounts by layer; `close` closes their descriptors. Each function raises OSError.

    `workspace` is a directory where mounts can be made that nobody sees.
    """

    def __init__(self) -> None:
        self.workspace = ""
        self._mounts: dict[int, int] = {}
        self._attached: set[int] = set()

    def close(self) -> None:
        """Let go of the mounts: a union that has them keeps them."""
        while self._mounts:
            os.close(self._mounts.popitem()[1])

    def keep(self, layer: int, tree: int) -> None:
        """Take a detached mount as the layer's."""
        self._mounts[layer] = tree

    def attach(self, layer: int, path: str) -> None:
        """Put a layer at `path`."""
        mount.attach(self._mounts[layer], path)

    def has(self, layer: int, directory: str) -> bool:
        """Whether a layer has a directory."""
        try:
            os.close(self._root(layer, directory))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def show(self, layer: int, root: str, path: str) -> None:
        """Put the directory `root` of a layer at `path`."""
        directory = self._root(layer, root)
        try:
            tree = mount.clone_tree(directory, path)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # Before Linux 6.15 only what is in a mount table can be cloned.
            os.makedirs(f"{self.workspace}/layers", exist_ok=True)
            self._attach_layer(layer)
            tree = mount.clone_tree(directory, path)
        finally:
            os.close(directory)
        try:
            mount.attach(tree, path)
        finally:
            os.close(tree)

    def _attach_layer(self, layer: int) -> None:
        """Put a layer in the workspace's mount table; it goes with the workspace."""
        if layer not in self._attached:
            place = f"{self.workspace}/layers/{layer}"
            os.mkdir(place)
            mount.attach(self._mounts[layer], place)
            self._attached.add(layer)

    def unite(
        self, lower: Sequence[tuple[int, str]], path: str, options: Mapping[str, str],
        *, writable: bool,
    ) -> str:  # fmt: skip
        """Mount an overlay of (layer, directory inside it), top first, at `path`.

        Gives how the layers reached overlayfs: "descriptor" (Linux 6.15 and later) or "path".
        """
        if self._by_descriptor(lower, path, options, writable=writable):
            return "descriptor"
        self._by_path(lower, path, options, writable=writable)
        return "path"

    def _by_descriptor(
        self, lower: Sequence[tuple[int, str]], path: str, options: Mapping[str, str],
        *, writable: bool,
    ) -> bool:  # fmt: skip
        # Layers by descriptor: Linux 6.13; layers that are detached mounts: 6.15. There is no
        # way to know but to try, and an older kernel says EINVAL at the first layer.
        with mount.FileSystemContext("overlay") as context, Stack() as opened:
            try:
                for layer, root in lower:
                    directory = self._root(layer, root)
                    opened.callback(os.close, directory)
                    context.descriptor("lowerdir+", directory)
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP):
                    return False
                raise
            for key, value in options.items():
                context.string(key, value)
            if not writable:
                context.flag("ro")
            context.string("source", "bootunion")
            tree = context.mount()
        try:
            mount.attach(tree, path)
        finally:
            os.close(tree)
        return True

    def _root(self, layer: int, root: str) -> int:
        return openat2.beneath(self._mounts[layer], root, os.O_RDONLY | os.O_DIRECTORY)

    def _by_path(
        self, lower: Sequence[tuple[int, str]], path: str, options: Mapping[str, str],
        *, writable: bool,
    ) -> None:  # fmt: skip
        # mount(2) takes one page of options: short names below the working directory let 500
        # layers fit (KERNEL: fs/namespace.c, copy_mount_options).
        layers = f"{self.workspace}/layers"
        os.makedirs(layers, exist_ok=True)
        try:
            before = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:
            # Who became another user may be where that one may not: there is no way back.
            before = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.chdir(layers)
        try:
            for layer, _ in lower:
                self._attach_layer(layer)
            places = ":".join(f"{layer}{root.rstrip('/')}" for layer, root in lower)
            text = ",".join(f"{key}={value}" for key, value in options.items())
            flags = 0 if writable else mount.MS_RDONLY
            mount.mount("bootunion", path, "overlay", flags, f"{text},lowerdir={places}")
        finally:
            os.fchdir(before)
            os.close(before)
