"""Runs a program as if it were started by the caller itself, in a process namespace of its own.

Three processes: the caller's, which waits and passes signals on; the first of the namespace, which
makes the root and collects orphans, and whose end ends everything in there; the program.
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import os
import signal
import sys
import warnings  # noqa: F401 - execvp imports it, where there is no Python any more
from collections.abc import Callable, Sequence

from bootunion.errors import BootunionError

from ..parent import die_with_parent
from ..unsharing import new_pid_namespace

_NOT_FOUND = 127  # as a shell says it
_NOT_RUNNABLE = 126
_SI_KERNEL = 0x80  # asm-generic/siginfo.h: from the terminal, so the program has it already
_CAUGHT = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1,
           signal.SIGUSR2, signal.SIGCHLD, signal.SIGCONT, signal.SIGWINCH, signal.SIGTSTP,
           signal.SIGTTIN, signal.SIGTTOU, signal.SIGALRM}  # fmt: skip
_STOPPING = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_PASSED_ON = _CAUGHT - {signal.SIGCHLD, signal.SIGCONT}
# What the first process says to the caller's.
_ERROR, _ENDED = range(2)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, NoReturn


def execute(command: Sequence[str]) -> NoReturn:
    """Become `command`; without it end with 127 or 126, as a shell would."""
    # Python ignores SIGPIPE and its like; programs expect them as they were.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], [*command])  # noqa: S606
    except OSError as error:
        print(f"bootunion: {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        os._exit(_NOT_FOUND if missing else _NOT_RUNNABLE)


def supervise(enter: Callable[[], None], command: Sequence[str]) -> int:
    """Run `command` in a new process namespace, after `enter` has made its root in there.

    Gives its exit status; a signal that ended it ends this process, too. Whoever kills this process
    ends the program as well. Raises BootunionError, of `enter` or privilege-missing.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _CAUGHT)
    try:
        with new_pid_namespace():
            first = os.fork()
            if first == 0:
                os.close(reading)
                _first(enter, command, writing, before)
        os.close(writing)
        handle = os.pidfd_open(first)  # by its number it could be another one by the time
        with os.fdopen(reading, "rb") as pipe:
            try:
                status = _attend(first, pipe)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                os.close(handle)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if os.WIFSIGNALED(status):
        _die_alike(os.WTERMSIG(status))
    return os.waitstatus_to_exitcode(status)


def _attend(first: int, pipe: IO[bytes]) -> int:
    """Pass signals on until the first process has ended; the program's wait status."""
    status: int | None = None
    os.set_blocking(pipe.fileno(), False)
    while True:
        info = signal.sigwaitinfo(_CAUGHT)
        number = signal.Signals(info.si_signo)
        if number == signal.SIGCHLD:
            ended, code = os.waitpid(first, os.WNOHANG)
            status = _hear(pipe, status)
            if ended:
                return code if status is None else status
        elif number in _PASSED_ON and info.si_code != _SI_KERNEL:
            os.kill(first, number)
        elif number in _STOPPING:
            # The terminal has stopped the program; a shell waits for this process to stop.
            os.kill(os.getpid(), signal.SIGSTOP)


def _hear(pipe: IO[bytes], status: int | None) -> int | None:
    with contextlib.suppress(EOFError, ValueError, TypeError, BlockingIOError):
        while True:
            kind, value = marshal.load(pipe)  # noqa: S302 - our own child wrote it
            if kind == _ERROR:
                code, text, subject = value
                raise BootunionError(code, text, subject=subject)
            if kind == _ENDED:
                status = value
    return status


def _die_alike(number: int) -> NoReturn:
    """End as the program did; without writing a core file for it once more."""
    import resource  # noqa: PLC0415 - seldom

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _first(
    enter: Callable[[], None], command: Sequence[str], writing: int, mask: set[Any]
) -> NoReturn:
    """The course of the namespace's first process; never returns."""
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        try:
            die_with_parent()
            enter()
            program = os.fork()
        except BootunionError as error:
            _tell(pipe, _ERROR, (error.code, error.message, error.subject))
            os._exit(1)
        except BaseException as error:
            text = f"making the root: {type(error).__name__}: {error}"
            _tell(pipe, _ERROR, ("program-failed", text, ""))
            os._exit(1)
        if program == 0:
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                execute(command)
            finally:
                os._exit(_NOT_RUNNABLE)  # never back into the caller's code
        _tell(pipe, _ENDED, _collect(program))
        os._exit(0)


def _collect(program: int) -> int:
    """Pass signals on and collect what ends, until the program does; its wait status."""
    while True:
        info = signal.sigwaitinfo(_CAUGHT)
        if info.si_signo != signal.SIGCHLD:
            # What the terminal sends to all of its foreground, the program has already.
            if info.si_signo in _PASSED_ON and info.si_code != _SI_KERNEL:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(program, info.si_signo)
            continue
        with contextlib.suppress(ChildProcessError):
            while True:
                ended, status = os.waitpid(-1, os.WNOHANG)
                if ended == program:
                    return status
                if ended == 0:
                    break


def _tell(pipe: IO[bytes], kind: int, value: Any) -> None:
    pipe.write(marshal.dumps((kind, value)))
