"""A union in a namespace of its own: nobody else sees its mounts, and nothing is left of it.

The work is done in a child process that is the first of a process namespace. When it ends, however
it ends, the kernel ends every process in there before the child counts as ended
(pid_namespaces(7)), and takes its mounts away and with them the loop devices.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

from bootunion import operations as op
from bootunion.errors import BootunionError
from bootunion.initrd import mount, namespaces
from bootunion.initrd.executor import Executor
from bootunion.initrd.store import Store as Reader

from . import parent
from .unsharing import new_pid_namespace, unshare

_HOST_NAME = b"bootunion"
_OTHER_FILES = 64
_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)

# What the child says: words on the way, and at the end its answer or its exception.
_TOLD, _ANSWER, _ERROR = range(3)

Result = TypeVar("Result")
_libc = ctypes.CDLL(None, use_errno=True)


class _Child:
    """What the child in a namespace knows: the pipe to its parent."""

    pipe: IO[bytes] | None = None


def require_root(what: str) -> None:
    """Refuse to go on without root. Raises BootunionError privilege-missing."""
    if os.geteuid() != 0:
        raise BootunionError("privilege-missing", f"{what} needs root: it mounts file systems")


def in_namespace(
    work: Callable[[], Result],
    *,
    network: bool = True,
    hear: Callable[[Any], None] | None = None,
) -> Result:
    """Run `work` in a child with namespaces of its own, and give its result.

    Mounts, processes, IPC and host name are its own, and so is the session: it has no terminal.
    The umask is 022, whatever the caller's. Without `network` it has nothing but loopback. What
    `work` says with `tell` is given to `hear`. An exception of `work` is raised here.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal between the fork and the `try` would leave the child behind.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        with new_pid_namespace():
            child = os.fork()
            if child == 0:
                os.close(reading)
                _child(work, writing, network)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                answer = _listen(pipe, hear)
            except BaseException:
                signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
                os.kill(child, signal.SIGKILL)
                raise
            finally:
                _, status = os.waitpid(child, 0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if answer is None:
        code = os.waitstatus_to_exitcode(status)
        raise BootunionError("program-failed", f"the process in the namespace ended with {code}")
    kind, value = answer
    if kind == _ERROR:
        raise value  # type: ignore[misc]
    return value  # type: ignore[return-value]


def tell(what: object) -> None:
    """From inside `in_namespace`: have the parent's `hear` called with `what`."""
    assert _Child.pipe is not None, "only in a namespace"
    pickle.dump((_TOLD, what), _Child.pipe)
    _Child.pipe.flush()


def _listen(pipe: IO[bytes], hear: Callable[[Any], None] | None) -> tuple[int, object] | None:
    while True:
        try:
            kind, value = pickle.load(pipe)  # noqa: S301 - our own child wrote it
        except (EOFError, pickle.UnpicklingError):
            return None  # it was killed, perhaps in the middle of a word
        if kind != _TOLD:
            return kind, value
        if hear is not None:
            hear(value)


def unshare_mounts() -> None:
    """Give this process mounts of its own: what it mounts from here on nobody else sees."""
    unshare(namespaces.NEWNS)
    mount.mount("", "/", "", mount.MS_REC | mount.MS_PRIVATE)


def _child(work: Callable[[], object], writing: int, network: bool) -> NoReturn:
    """The child's course; never returns."""
    status = 1
    try:
        parent.die_with_parent()
        # The parent ends it with SIGKILL. Programs inherit what is ignored, from nohup perhaps.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _Child.pipe = os.fdopen(writing, "wb")
        try:
            _isolate(network)
            answer: tuple[int, object] = (_ANSWER, work())
            status = 0
        except BootunionError as error:
            answer = (_ERROR, error)
        except BaseException as error:
            traceback.print_exc()
            answer = (_ERROR, RuntimeError(f"in the namespace: {error!r}"))
        pickle.dump(answer, _Child.pipe)
        _Child.pipe.flush()
    finally:
        # Not sys.exit: the parent's buffers and exit handlers are the parent's.
        os._exit(status)


def _isolate(network: bool) -> None:
    os.setsid()
    os.umask(0o022)
    unshare(namespaces.NEWUTS | namespaces.NEWIPC | (0 if network else namespaces.NEWNET))
    _libc.sethostname(_HOST_NAME, ctypes.c_size_t(len(_HOST_NAME)))
    unshare_mounts()
    if not network:
        from pyroute2 import IPRoute  # noqa: PLC0415 - half a second, only where it is needed

        with IPRoute() as route:
            route.link("set", index=1, state="up")


def in_union(
    store: Path, operations: Iterable[op.Operation], root: Path, work: Callable[[Path], Result]
) -> Result:
    """Carry out `operations` over `store` and run `work(root)`; call it inside a namespace."""
    operations = tuple(operations)
    _allow_descriptors(len(operations))
    with Reader(str(store)) as reader, Executor(reader) as executor:
        executor.execute(operations)
        return work(root)


def _allow_descriptors(count: int) -> None:
    """Let this process have `count` open files and some more, as far as it may.

    Without dm-verity nothing but us holds a loop device until it is mounted.
    """
    wanted = count + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
