"""New namespaces, for whoever may have them. Imports little: `bootunion run` starts by it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from bootunion.errors import BootunionError
from bootunion.initrd import namespaces


def unshare(flags: int) -> None:
    """unshare(2). Raises BootunionError privilege-missing."""
    try:
        namespaces.unshare(flags)
    except OSError as error:
        text = f"cannot make a namespace: {error.strerror}"
        raise BootunionError("privilege-missing", text) from None


@contextlib.contextmanager
def new_pid_namespace() -> Iterator[None]:
    """The first process that is started in the block is the first of a process namespace.

    Those that are started after the block are not in it. Raises BootunionError privilege-missing.
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(namespaces.NEWPID)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                namespaces.join(own, namespaces.NEWPID)
    finally:
        os.close(own)
