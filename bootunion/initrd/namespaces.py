"""Namespaces by unshare(2) and setns(2). Constants are from linux/sched.h."""

from __future__ import annotations

import ctypes
import os

NEWNS = 0x00020000
NEWUTS = 0x04000000
NEWIPC = 0x08000000
NEWUSER = 0x10000000
NEWPID = 0x20000000
NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Give this process new namespaces (its children, where it is NEWPID). Raises OSError."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def join(namespace: int, kind: int) -> None:
    """Go into the namespace that is open as the descriptor `namespace`. Raises OSError."""
    _check(_libc.setns(ctypes.c_int(namespace), ctypes.c_int(kind)), "setns")


def _check(result: int, name: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
