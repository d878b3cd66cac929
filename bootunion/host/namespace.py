"""A union in a namespace of its own: nobody else sees its mounts, and nothing is left of it.

The work is done in a child process. When it ends, however it ends, the kernel takes its mounts
away and with them the loop devices.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from bootunion import operations as op
from bootunion.errors import BootunionError
from bootunion.initrd import mount
from bootunion.initrd.executor import Executor
from bootunion.initrd.store import Store as Reader

_CLONE_NEWNS = 0x00020000  # linux/sched.h
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1

Result = TypeVar("Result")
_libc = ctypes.CDLL(None, use_errno=True)


def require_root(what: str) -> None:
    """Refuse to go on without root. Raises BootunionError privilege-missing."""
    if os.geteuid() != 0:
        raise BootunionError("privilege-missing", f"{what} needs root: it mounts file systems")


def in_namespace(work: Callable[[], Result], *, network: bool = True) -> Result:
    """Run `work` in a child with private mounts, IPC and host name, and give its result.

    Without `network` the child has a network namespace of its own with nothing but loopback. An
    exception of `work` is raised here.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(work, writing, network)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read()
    except BaseException:
        # The child's programs are its children: they die with it (PR_SET_PDEATHSIG).
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    _, status = os.waitpid(child, 0)
    if not said:
        code = os.waitstatus_to_exitcode(status)
        raise BootunionError("program-failed", f"the process in the namespace ended with {code}")
    failed, value = pickle.loads(said)  # noqa: S301 - our own child wrote it
    if failed:
        raise value
    return value  # type: ignore[no-any-return]


def _child(work: Callable[[], object], writing: int, network: bool) -> None:
    """The child's course; never returns."""
    status = 1
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        try:
            _isolate(network)
            answer: tuple[bool, object] = (False, work())
            status = 0
        except (BootunionError, KeyboardInterrupt) as error:
            answer = (True, error)
        except BaseException as error:
            traceback.print_exc()
            answer = (True, RuntimeError(f"in the namespace: {error!r}"))
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(pickle.dumps(answer))
    finally:
        # Not sys.exit: the parent's buffers and exit handlers are the parent's.
        os._exit(status)


def _isolate(network: bool) -> None:
    flags = _CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWIPC | (0 if network else _CLONE_NEWNET)
    if _libc.unshare(ctypes.c_int(flags)) != 0:
        number = ctypes.get_errno()
        text = f"cannot make a namespace: {os.strerror(number)}"
        raise BootunionError("privilege-missing", text)
    mount.mount("", "/", "", mount.MS_REC | mount.MS_PRIVATE)
    if not network:
        from pyroute2 import IPRoute  # noqa: PLC0415 - half a second, only where it is needed

        with IPRoute() as route:
            route.link("set", index=1, state="up")


def in_union(
    store: Path, operations: Iterable[op.Operation], root: Path, work: Callable[[Path], Result]
) -> Result:
    """Carry out `operations` over `store` and run `work(root)`; call it inside a namespace."""
    with Reader(str(store)) as reader, Executor(reader) as executor:
        executor.execute(operations)
        return work(root)
