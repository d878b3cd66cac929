"""`python3 -I -m bootunion.helper`: what bootunion-helper.service runs."""

from __future__ import annotations

import os
import socket
import sys

from bootunion.initrd.store import Store

from . import assembling
from .reading import Places, Selected
from .server import Server

_FIRST = 3  # sd_listen_fds(3)
_OPTIONS = ("store", "trust", "directory")


def main(arguments: list[str]) -> int:
    """Serve the socket that systemd has made. Ends with 0 when nobody asks any more."""
    found = dict(one.removeprefix("--").partition("=")[::2] for one in arguments)
    if not set(found) <= set(_OPTIONS) or not all(found.values()):
        print(f"bootunion-helper: options are --{'=, --'.join(_OPTIONS)}=", file=sys.stderr)
        return 2
    if (os.environ.get("LISTEN_PID"), os.environ.get("LISTEN_FDS")) != (str(os.getpid()), "1"):
        print("bootunion-helper: started by bootunion-helper.socket only", file=sys.stderr)
        return 2
    places = Places()
    if "store" in found:
        places = places._replace(store=found["store"])
    if "trust" in found:
        places = places._replace(trust=(found["trust"],))
    directory = found.get("directory") or os.environ.get("RUNTIME_DIRECTORY", "")
    listening = socket.socket(fileno=_FIRST)
    listening.set_inheritable(False)
    if listening.type != socket.SOCK_SEQPACKET or listening.family != socket.AF_UNIX:
        print("bootunion-helper: descriptor 3 is no SOCK_SEQPACKET socket", file=sys.stderr)
        return 2

    def assemble(selected: Selected, store: Store) -> int:
        steps = assembling.steps(selected.layers, directory, selected.base)
        return assembling.assemble(steps, store, directory)

    Server(listening, places, assemble, directory).serve()
    return 0


sys.exit(main(sys.argv[1:]))
