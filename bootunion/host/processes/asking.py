"""Asks the helper for a tree."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time

from bootunion.errors import BootunionError
from bootunion.helper import protocol
from bootunion.helper.protocol import Granted, Request

_SECONDS = 45  # the helper gives a request up sooner
_TIME = struct.Struct("ll")  # struct timeval


_PAUSES = (0.02, 0.5)  # seconds before a busy helper is asked again: the first, the longest


def ask(socket_path: str, request: Request, patience: float = _SECONDS) -> tuple[int, Granted]:
    """The detached tree of what was asked for (descriptor), and what it is made of.

    A helper that is busy is asked again for `patience` seconds: it serves few requests of one user
    at once, and one whose tree was handed over may not be over yet.

    The tree is read-only, nosuid and nodev for good: it can be moved into a mount namespace of the
    caller's user namespace (`mount.attach`), and goes away with its last user.

    Raises the helper's refusal, and BootunionError helper-missing or helper-failed.
    """
    end = time.monotonic() + patience
    pause, longest = _PAUSES
    while True:
        try:
            return _ask_once(socket_path, request)
        except BootunionError as refusal:
            if refusal.code != "helper-busy" or time.monotonic() + pause > end:
                raise
        time.sleep(pause)
        pause = min(2 * pause, longest)


def _ask_once(socket_path: str, request: Request) -> tuple[int, Granted]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as talk:
        # Not `settimeout`: such a socket does not wait for room in the queue to connect.
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            talk.setsockopt(socket.SOL_SOCKET, option, _TIME.pack(_SECONDS, 0))
        try:
            talk.connect(socket_path)
        except BlockingIOError:
            text = f"too many wait for it, none was served within {_SECONDS} seconds"
            raise BootunionError("helper-busy", text, subject=socket_path) from None
        except OSError as error:
            text = f"the helper does not answer: {error.strerror}"
            raise BootunionError("helper-missing", text, subject=socket_path) from None
        try:
            # A busy helper says so and leaves before it has heard anything.
            with contextlib.suppress(BrokenPipeError):
                talk.send(request.encode(), socket.MSG_NOSIGNAL)
            data, trees = _hear(talk)
        except OSError as error:
            text = f"there is no answer: {error.strerror or error}"
            raise BootunionError("helper-failed", text, subject=socket_path) from None
    try:
        granted = protocol.decode_answer(data)
        if len(trees) != 1:
            raise BootunionError("helper-failed", "there is no tree with the answer")
    except BaseException:
        for tree in trees:
            os.close(tree)
        raise
    return trees[0], granted


def _hear(talk: socket.socket) -> tuple[bytes, list[int]]:
    try:
        heard = socket.recv_fds(talk, protocol.MAX_SIZE, 1, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        # It left our request unread: the kernel tells that before what it had said.
        heard = socket.recv_fds(talk, protocol.MAX_SIZE, 1, socket.MSG_CMSG_CLOEXEC)
    return heard[0], heard[1]
