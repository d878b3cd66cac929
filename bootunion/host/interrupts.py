"""Signals that become KeyboardInterrupt, none of them lost.

Python raises a signal handler's exception wherever the main thread happens to be. Where that is a
finaliser or a weak reference's callback the exception is dropped with a printed traceback
(docs.python.org, `sys.unraisablehook`), and the program goes on although it was told to stop. Such
a one is raised again here, a moment later and without the traceback.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_AGAIN_AFTER = 0.01  # seconds: longer than what is left of a finaliser


def interrupt(*_: object) -> None:
    """A signal handler: raise KeyboardInterrupt."""
    raise KeyboardInterrupt


def catch(
    stop: Callable[..., None], numbers: tuple[signal.Signals, ...] = SIGNALS, *,
    again: Callable[..., None] = interrupt,
) -> None:  # fmt: skip
    """Have the handler `stop`, which may raise KeyboardInterrupt, called at each of `numbers`.

    When its exception was dropped, `again` is called.
    """
    for number in numbers:
        signal.signal(number, stop)
    before = sys.unraisablehook

    def dropped(what: sys.UnraisableHookArgs) -> None:
        if not issubclass(what.exc_type, KeyboardInterrupt):
            before(what)
            return
        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_AFTER)

    sys.unraisablehook = dropped
