"""The server: takes connections, and serves each request in a process of its own.

The server itself reads nothing that a client sent and nothing of the store. Whatever becomes of a
request, its process takes all that it has not handed on with it: trees, loop devices and
device-mapper devices are held by descriptors alone.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from bootunion import signature
from bootunion.errors import BootunionError
from bootunion.initrd.store import Store

from . import assembling, protocol, reading
from .keeping import Kept
from .policy import Bounds, Caller
from .reading import Places, Selected

_CREDENTIALS = struct.Struct("3i")  # struct ucred
_GRACE_SECONDS = 5  # for a request that is late to clean up before it is killed

_BOUNDS = Bounds()

Assemble = Callable[[Selected, Store], int]
"""Makes the tree (descriptor) of what was selected."""


class _Running(NamedTuple):
    """A request that is being served: its process, whose it is, and when it has to be over."""

    pid: int
    uid: int
    deadline: float


class Server:
    """Serves a listening socket until nobody has asked for some time."""

    def __init__(
        self, listening: socket.socket, places: Places, assemble: Assemble, directory: str,
        bounds: Bounds = _BOUNDS,
    ) -> None:  # fmt: skip
        """`directory` is an empty one of the helper's own, for `assembling`."""
        self._listening = listening
        self._places = places
        self._assemble = assemble
        self._directory = directory
        self._bounds = bounds
        self._running: dict[int, _Running] = {}  # by the descriptor of the process
        self._kept = Kept()

    def serve(self) -> None:
        """Serve until nobody asks and nobody keeps a union; requests that run are waited for."""
        self._listening.settimeout(0)
        # Loaded once and not in each request: it takes longer than all of the rest.
        signature.load()
        gc.freeze()
        quiet_since = time.monotonic()
        while True:
            ready = self._wait()
            now = time.monotonic()
            for process in [one for one in ready if one in self._running]:
                self._reap(process)
            if self._listening.fileno() in ready:
                self._accept(now)
            self._hurry(now)
            if ready or self._running or self._kept.look():
                quiet_since = now
            elif now - quiet_since >= self._bounds.idle_seconds:
                return

    def _wait(self) -> set[int]:
        """The descriptors that have something to say, within a second."""
        poll = select.poll()
        for fd in (self._listening.fileno(), *self._running):
            poll.register(fd, select.POLLIN)
        return {fd for fd, _ in poll.poll(1000)}

    def _accept(self, now: float) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:  # it is gone again; or out of descriptors, which a moment mends
            return
        with connection:
            caller = peer(connection)
            self._kept.look()
            try:
                self._bounds.check([one.uid for one in self._running.values()], caller.uid)
                pid = _fork()
            except BootunionError as error:
                refuse(connection, caller, error)
                return
            if pid == 0:
                self._child(connection, caller)
            process = os.pidfd_open(pid)
            self._running[process] = _Running(pid, caller.uid, now + self._bounds.seconds)

    def _child(self, connection: socket.socket, caller: Caller) -> NoReturn:
        """The course of a request's process; never returns."""
        status = 1
        try:
            self._listening.close()
            for process in self._running:
                os.close(process)
            # An exception, so that what was made is taken away.
            for number in (signal.SIGALRM, signal.SIGTERM):
                signal.signal(number, _late)
            signal.alarm(self._bounds.seconds)
            connection.settimeout(self._bounds.talk_seconds)
            answer(connection, caller, self._places, self._tree)
            status = 0
        finally:
            # Not sys.exit: the server's exit handlers are the server's.
            os._exit(status)

    def _tree(self, caller: Caller, selected: Selected, store: Store) -> int:
        """Make the tree in a request's process; a union is counted for who gets it.

        A tree of one package is its package's file system, which is there once for all; so is the
        index of the machine's list.
        """
        if len(selected.layers) + bool(selected.base) == 1:
            return self._assemble(selected, store)
        # What the others of this user will get, nobody knows yet.
        running = [one.pid for one in self._running.values() if one.uid == caller.uid]
        self._bounds.check_kept(self._kept.of(caller.uid, running), caller.uid)
        tree = self._assemble(selected, store)
        self._kept.note(tree, caller.uid)
        return tree

    def _reap(self, process: int) -> None:
        one = self._running.pop(process)
        os.close(process)
        _, status = os.waitpid(one.pid, 0)
        if os.WIFSIGNALED(status):
            _log(f"request of user {one.uid} was killed by signal {os.WTERMSIG(status)}")
            with contextlib.suppress(OSError):
                assembling.sweep()
        with contextlib.suppress(OSError):
            os.rmdir(assembling.workspace(self._directory, one.pid))

    def _hurry(self, now: float) -> None:
        """Kill what did not end by itself when its time was over."""
        for process, one in self._running.items():
            if now > one.deadline + _GRACE_SECONDS:
                signal.pidfd_send_signal(process, signal.SIGKILL)


def _fork() -> int:
    try:
        return os.fork()
    except OSError as error:
        text = f"no process can be started: {error.strerror}"
        raise BootunionError("helper-busy", text) from None


def peer(connection: socket.socket) -> Caller:
    """Who is at the other end, as the kernel knows since it connected (unix(7), SO_PEERCRED)."""
    size = _CREDENTIALS.size
    return Caller(
        *_CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    )


def answer(
    connection: socket.socket, caller: Caller, places: Places,
    tree_of: Callable[[Caller, Selected, Store], int],
) -> None:  # fmt: skip
    """Serve the one request of a connection, which has a time limit."""
    try:
        data = _receive(connection)
        if not data:
            return  # it went away, or closed its side without a word
        request = protocol.decode_request(data)
        with Store(places.store) as store:
            selected = reading.select(request, store, places)
            tree = tree_of(caller, selected, store)
    except BootunionError as error:
        refuse(connection, caller, error)
        return
    except Exception as error:
        # Not the client's business what went wrong inside; the log has it.
        _log(f"user {caller.uid}, process {caller.pid}: {type(error).__name__}: {error}")
        refuse(connection, caller, BootunionError("helper-failed", "the request was not served"))
        return
    try:
        socket.send_fds(connection, [selected.granted.encode()], [tree])
    except OSError as error:
        _log(f"user {caller.uid}, process {caller.pid} did not take its tree: {error.strerror}")
        return
    finally:
        os.close(tree)
    title = selected.granted.list_name or "no list"
    _log(f"user {caller.uid}, process {caller.pid} has {len(selected.layers)} packages ({title})")


def refuse(connection: socket.socket, caller: Caller, error: BootunionError) -> None:
    """Send a refusal, to whoever still listens, without waiting."""
    _log(f"user {caller.uid}, process {caller.pid} was refused: {error.code}")
    with contextlib.suppress(OSError):
        connection.send(protocol.encode_refusal(error), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _receive(connection: socket.socket) -> bytes:
    """The one message; b"" for none. Raises BootunionError helper-request-invalid."""
    try:
        # No room for control messages: descriptors that are sent along are never received.
        data, _, flags, _ = connection.recvmsg(protocol.MAX_SIZE)
    except TimeoutError:
        text = f"none came within {connection.gettimeout():.0f} seconds"
        raise BootunionError("helper-request-invalid", text, subject="request") from None
    except ConnectionError:
        return b""
    if flags & socket.MSG_TRUNC:
        text = f"is larger than {protocol.MAX_SIZE} bytes"
        raise BootunionError("helper-request-invalid", text, subject="request")
    if flags & socket.MSG_CTRUNC:
        text = "came with descriptors, and nothing but names may be given"
        raise BootunionError("helper-request-invalid", text, subject="request")
    return data


def _late(_number: int, _frame: object) -> NoReturn:
    raise BootunionError("helper-failed", "the request took too long")


def _log(text: str) -> None:
    # The journal takes whole lines, and a name in them may be anybody's.
    print(text.encode("ascii", "backslashreplace").decode(), file=sys.stderr, flush=True)
