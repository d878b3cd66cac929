"""Puts the union of a list at a directory, for whoever uses it: bootunion-root@.service, a chroot.

The union is made in a mount namespace of its own and comes from there as one detached tree: the
caller's mount table has nothing but the finished mount. Its devices go with its last user.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from bootunion import process
from bootunion.errors import BootunionError
from bootunion.host import namespace
from bootunion.host.processes import choosing
from bootunion.host.processes.entering import unshare_mounts
from bootunion.host.processes.selecting import Selected, Wanted
from bootunion.initrd import mount, namespaces
from bootunion.initrd.process import ProcessExecutor
from bootunion.initrd.store import Store as Reader

from . import system
from .system import System


def put(wanted: Wanted, directory: Path, where: System) -> Selected:
    """Mount what is wanted, and nothing of the machine's root, at a directory, read-only.

    Raises BootunionError privilege-missing, path-missing, or what is wrong with list or packages.
    """
    namespace.require_root("putting a root at a directory")
    place = directory.resolve()
    if not place.is_dir():
        raise BootunionError("path-missing", "is no directory to mount at", subject=str(directory))
    selected = system.packages(wanted._replace(pure=True), where)
    kind = system.how(selected, where)
    with _own_mounts(), contextlib.ExitStack() as stack:
        operations = process.for_handing_on(
            selected.picks, str(choosing.WORKSPACE), kind, trusted=True
        )
        reader = stack.enter_context(Reader(str(where.store)))
        executor = ProcessExecutor([reader])
        stack.enter_context(executor)
        executor.execute(operations)
        tree = executor.tree
    try:
        mount.attach(tree, str(place))
    finally:
        os.close(tree)
    return selected


@contextlib.contextmanager
def _own_mounts() -> Iterator[None]:
    """Mounts that are made in the block are seen by nobody, and are gone after it."""
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        unshare_mounts()
        try:
            yield
        finally:
            # The kernel lets go of the root and the working directory, too (setns(2)).
            namespaces.join(own, namespaces.NEWNS)
            os.fchdir(directory)
    finally:
        os.close(directory)
        os.close(own)


def main() -> int:
    """`python3 -m bootunion.host.logins.mounting LIST DIRECTORY`: what the unit runs."""
    name, directory = sys.argv[1:]
    try:
        put(Wanted(name), Path(directory), System())
    except BootunionError as error:
        print(f"bootunion: {error} [{error.code}]. {error.way_out}", file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
