"""A signal's KeyboardInterrupt is never lost, wherever it meets the program."""

import subprocess
import sys

import pytest

_PROGRAM = """
import os, signal, sys, time, weakref
from bootunion.host import interrupts

class Thing:
    def __del__(self):
        if sys.argv[1] == "finaliser":
            strike()

def strike(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(1000):  # the handler runs between two of these
        pass

def stop(*_):
    print("told", flush=True)
    raise KeyboardInterrupt

interrupts.catch(stop)
try:
    thing = Thing()
    watch = weakref.ref(thing, strike if sys.argv[1] == "callback" else None)
    del thing
    time.sleep(60)
    print("went on")
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("where", ["finaliser", "callback"])
def test_an_interrupt_that_python_drops_is_raised_again(where: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, where], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("told\nstopped\n", "", 0)


def test_other_dropped_exceptions_are_still_told() -> None:
    program = _PROGRAM.replace("strike()", "raise ValueError('lost')").replace(
        "sleep(60)", "time()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "finaliser"], capture_output=True, text=True, check=False
    )
    assert "ValueError: lost" in done.stderr
    assert done.stdout == "went on\n"
