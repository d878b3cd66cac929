"""Processes that work for this one, and end when it does, however it ends."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from bootunion.errors import BootunionError

from . import interrupts

_MOST_NAMED = 10
_TICK = 0.1  # seconds between two looks at how far the work is

Job = TypeVar("Job")
Result = TypeVar("Result")


@contextlib.contextmanager
def pool(count: int, start: Callable[..., None], *values: Any) -> Iterator[ProcessPoolExecutor]:
    """A pool of `count` processes; left by an exception, they are told to stop (SIGTERM).

    Each begins with `start(*values)`, which says what a signal does there. Signals are held back
    until then, here and there, so that none meets a process that is not ready for it: `start` ends
    with `heed`, and who has handed out the work calls it here.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, interrupts.SIGNALS)
    try:
        with ProcessPoolExecutor(count, initializer=start, initargs=values) as executor:
            try:
                yield executor
            except BaseException:
                for child in multiprocessing.active_children():
                    child.terminate()
                # Waited for here: once shut down without waiting, a pool is never waited for.
                executor.shutdown(cancel_futures=True)
                raise
    finally:
        heed()


def collect(
    waiting: Mapping[Future[Result], Job], killed: str, name: Callable[[Job], str],
    tick: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Job, Result | BootunionError]]:  # fmt: skip
    """What becomes of each job of a pool, as it ends: its result, or why it was refused.

    `tick` is called now and then meanwhile. Raises BootunionError program-failed, that a process
    that `killed` (as in "imports") was killed, for the job of that `name`.
    """
    left = set(waiting)
    while left:
        finished, left = wait(left, timeout=_TICK, return_when="FIRST_COMPLETED")
        tick()
        for future in finished:
            job = waiting[future]
            try:
                yield job, future.result()
            except BootunionError as error:
                yield job, error
            except BrokenProcessPool:
                text = f"a process that {killed} was killed"
                raise BootunionError("program-failed", text, subject=name(job)) from None


def heed() -> None:
    """Take the signals that `pool` held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.SIGNALS)


def die_at_once() -> None:
    """Begin a process that has nothing to clear away. Ctrl-C is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    heed()
    follow_parent()


class _Work:
    """What a process knows about itself that has to clear away what it has begun."""

    busy = False
    stopping = False


def clear_away_first() -> None:
    """Begin a process whose work, done in `at_work`, has something to clear away when it stops.

    It takes the signal when it is busy, and no work after it. An idle one goes on waiting for its
    parent's word: it may hold the queue's lock, and would take that with it.
    """
    interrupts.catch(_stop, again=_stop_again)
    heed()
    follow_parent()


def _stop(*_: object) -> None:
    """A signal: leave the work, so that its workspace is removed; take no other."""
    again, _Work.stopping = _Work.stopping, True
    if not _Work.busy:
        _leave_an_orphan()
    elif not again:  # Ctrl-C comes from the terminal and from the parent
        raise KeyboardInterrupt


def _stop_again(*_: object) -> None:
    if _Work.busy:
        raise KeyboardInterrupt


def _leave_an_orphan() -> None:
    if multiprocessing.connection.wait([parent()], 0):
        os._exit(1)


@contextlib.contextmanager
def at_work() -> Iterator[None]:
    """Work of a process that began with `clear_away_first`."""
    try:
        _Work.busy = True
        if _Work.stopping:
            raise KeyboardInterrupt
        yield
    finally:
        _Work.busy = False
        _leave_an_orphan()


def all_of(errors: Sequence[BootunionError], what: str) -> BootunionError:
    """One refusal for several, with the first one's code: "3 `what`: …"."""
    if len(errors) == 1:
        return errors[0]
    words = [str(error) for error in errors[:_MOST_NAMED]]
    if len(errors) > _MOST_NAMED:
        words.append(f"and {len(errors) - _MOST_NAMED} more")
    return BootunionError(errors[0].code, f"{len(errors)} {what}: {'; '.join(words)}")


def parent() -> int:
    """A descriptor that can be read once the parent process is gone."""
    found = multiprocessing.parent_process()
    assert found is not None
    return found.sentinel


def follow_parent() -> None:
    """Send this process SIGTERM when its parent is gone: nobody is left to hand out work."""
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    multiprocessing.connection.wait([parent()])
    os.kill(os.getpid(), signal.SIGTERM)
