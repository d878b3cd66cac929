"""How many unions each user keeps, as the kernel knows it.

A union is a file system of its own, and lives until nobody has it any more: open, mounted in
whatever namespace, or on its way through a socket. None of that can be seen from here. But an
inotify watch (inotify(7); constants are from linux/inotify.h) on its root does not hold it and ends
with it: the watches that are left are the unions that are kept.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from bootunion.initrd.scopes import suppress
from bootunion.native import INT, TEXT, UINT, c_function, get_errno

_DELETE_SELF = 0x400  # never happens to a read-only root, and some event has to be asked for
_ONLYDIR = 0x01000000
# A watch, whose union it is, and the request's process; as a whole or not at all in a pipe.
_NOTE = struct.Struct("=iIi")

_init = c_function("inotify_init1", INT)
_add_watch = c_function("inotify_add_watch", INT, TEXT, UINT)


class Kept:
    """The unions that are kept. Requests' processes `note` them, the server counts."""

    def __init__(self) -> None:
        """Raises OSError."""
        # Its events are never read: the queue is bounded, and what it lacks changes no watch.
        self._watches = _check(_init(os.O_CLOEXEC))
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._unions: dict[int, tuple[int, int]] = {}  # by watch: uid and request's process

    def note(self, tree: int, uid: int) -> None:
        """Count a union (a detached mount) from now on. Raises OSError."""
        path = f"/proc/self/fd/{tree}".encode()
        watch = _check(_add_watch(self._watches, path, _DELETE_SELF | _ONLYDIR))
        os.write(self._writing, _NOTE.pack(watch, uid, os.getpid()))

    def look(self) -> int:
        """Learn what was noted and what has gone since; how many there are. Raises OSError."""
        with suppress(BlockingIOError):
            while True:
                watch, uid, process = _NOTE.unpack(os.read(self._reading, _NOTE.size))
                self._unions[watch] = (uid, process)
        alive = self._alive()
        self._unions = {watch: one for watch, one in self._unions.items() if watch in alive}
        return len(self._unions)

    def of(self, uid: int, running: Iterable[int]) -> int:
        """How many unions a user kept when it was looked last.

        And may be getting: `running` are the processes of this user's other requests.
        """
        made_by = [process for owner, process in self._unions.values() if owner == uid]
        return len(made_by) + len(set(running).difference(made_by))

    def _alive(self) -> set[int]:
        # One line for each watch: "inotify wd:1f ino:…" (proc(5)).
        with open(f"/proc/self/fdinfo/{self._watches}", encoding="ascii") as file:
            return {int(line.split()[1].removeprefix("wd:"), 16)
                    for line in file if line.startswith("inotify ")}  # fmt: skip


def _check(result: int) -> int:
    if result < 0:
        raise OSError(get_errno(), os.strerror(get_errno()), "inotify")
    return result
