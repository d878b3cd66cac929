"""Processes that work for this one, and end when it does, however it ends."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading


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
