"""Namespaces by unshare(2) and setns(2). Constants are from linux/sched.h."""

from __future__ import annotations

import os

from bootunion.native import INT, c_function, get_errno

NEWNS = 0x00020000
NEWUTS = 0x04000000
NEWIPC = 0x08000000
NEWUSER = 0x10000000
NEWPID = 0x20000000
NEWNET = 0x40000000

_unshare = c_function("unshare", INT)
_setns = c_function("setns", INT, INT)


def unshare(flags: int) -> None:
    """Give this process new namespaces (its children, where it is NEWPID). Raises OSError."""
    _check(_unshare(flags), "unshare")


def join(namespace: int, kind: int) -> None:
    """Go into the namespace that is open as the descriptor `namespace`. Raises OSError."""
    _check(_setns(namespace, kind), "setns")


def _check(result: int, name: str) -> None:
    if result != 0:
        number = get_errno()
        raise OSError(number, os.strerror(number), name)
