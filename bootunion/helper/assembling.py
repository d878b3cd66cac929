"""Makes the detached tree that is handed to a client, in a process that ends with the request."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence

from bootunion import process
from bootunion.errors import BootunionError
from bootunion.initrd import dm, mount, namespaces
from bootunion.initrd.process import ProcessExecutor
from bootunion.initrd.store import Store
from bootunion.operations import Operation
from bootunion.systemlist import Layer


def steps(layers: Sequence[Layer], directory: str, base: str = "") -> tuple[Operation, ...]:
    """The operations that make the tree, in this process; what is at `base` lies below the layers.

    `directory` is an empty one of the helper's own. Raises BootunionError layers-too-many.
    """
    picks = [process.Pick(layer) for layer in layers]
    below = process.Base(base, len(picks)) if base else None
    process.check_count(picks, below)
    # A directory of its own: removing one takes away what others have mounted there.
    place = workspace(directory, os.getpid())
    return process.for_handing_on(picks, place, base=below, trusted=False)


def assemble(operations: Iterable[Operation], store: Store, directory: str) -> int:
    """The detached tree (descriptor) that `steps` make: read-only, nosuid and nodev, for good.

    This process has a mount namespace of its own afterwards and is good for nothing but handing the
    tree on. Raises BootunionError as the executor does.
    """
    executor = ProcessExecutor(store)
    try:
        namespaces.unshare(namespaces.NEWNS)
        mount.mount("", "/", "", mount.MS_REC | mount.MS_PRIVATE)
        with executor:
            executor.execute(operations)
            return lock(executor.tree, directory)
    except OSError as error:
        text = f"the helper cannot have namespaces of its own: {error.strerror}"
        raise BootunionError("kernel-call", text) from error


def lock(tree: int, place: str) -> int:
    """A clone of a detached mount whose attributes nobody can take off; `tree` is closed.

    Whoever has a user namespace may clear nosuid and nodev of a mount in it, unless they were
    locked. The kernel locks the attributes of mounts that are copied into the mount namespace of
    another user namespace (fs/namespace.c, lock_mnt_tree), and a clone keeps that.

    A detached mount keeps the user namespace that it was cloned in, and root has only so many
    (user.max_user_namespaces): so it is cloned once more here. Raises OSError.
    """
    mount.attach(tree, place)
    os.close(tree)
    locked = _cloned_elsewhere(place)
    mount.unmount(place, mount.MNT_DETACH)
    try:
        mount.attach(locked, place)
    finally:
        os.close(locked)
    return mount.clone_path(place)


def _cloned_elsewhere(place: str) -> int:
    """A clone that a process with another user namespace has made. Raises OSError."""
    here, there = socket.socketpair()
    with here, there:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                namespaces.unshare(namespaces.NEWUSER | namespaces.NEWNS)
                socket.send_fds(there, [b"."], [mount.clone_path(place)])
                status = 0
            except OSError as error:
                status = error.errno or 1
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        if status:
            number = max(os.waitstatus_to_exitcode(status), 1)
            raise OSError(number, os.strerror(number), place)
        _, (clone,), _, _ = socket.recv_fds(here, 1, 1)
    return clone


def workspace(directory: str, pid: int) -> str:
    """Where the process `pid` works."""
    return f"{directory}/{pid}"


def sweep() -> None:
    """Take away the devices that nobody uses: a process that was killed may have left one.

    Between the making of a device and its first user there is a moment in which nothing else would.
    Whoever is in that moment now makes it again. Raises OSError.
    """
    with dm.Control() as control:
        for name in control.names():
            if name.startswith("bootunion-"):
                control.remove_unused(name)
