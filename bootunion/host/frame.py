"""What surrounds every command: interrupts, and how a refusal looks and ends."""

from __future__ import annotations

import contextlib
import errno
import signal
import sys
from collections.abc import Callable

from bootunion.codes import EXIT_INTERRUPTED
from bootunion.errors import BootunionError

from . import interrupts


def run(work: Callable[[], object]) -> int:
    """The exit status of `work`, which is what it gives where that is a number, and else 0."""
    # A program started in the background by a shell has SIGINT ignored on purpose.
    heeded = (one for one in interrupts.SIGNALS if signal.getsignal(one) is not signal.SIG_IGN)
    interrupts.catch(_interrupted, tuple(heeded))
    try:
        status = work()
    except BootunionError as error:
        status = _refused(error)
    except KeyboardInterrupt:
        print("bootunion: interrupted; nothing half-written is left", file=sys.stderr)
        status = EXIT_INTERRUPTED
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            sys.stdout.close()
        status = 0
    except OSError as error:
        status = _refused(_from_system(error))
    return status if isinstance(status, int) else 0


def _interrupted(*_: object) -> None:
    # Clearing away must not be interrupted again; it is short.
    for number in interrupts.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _from_system(error: OSError) -> BootunionError:
    """A system call's error, met where no code of its own fits."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    subject = str(error.filename) if error.filename is not None else ""
    text = error.strerror or str(error)
    return BootunionError("disk-full" if full else "io-failed", text, subject=subject)


def _refused(error: BootunionError) -> int:
    from . import console  # noqa: PLC0415 - what goes well needs none of it

    console.refusal(error)
    return error.status
