"""The helper for hosts without device mapper: all of it but dm-verity. Its limits are arguments."""

import os
import signal
import socket
import sys
import time

from bootunion import operations as op
from bootunion.helper import assembling
from bootunion.helper.policy import Bounds
from bootunion.helper.reading import Places, Selected
from bootunion.helper.server import Server
from bootunion.initrd.store import Store

given = dict(one.removeprefix("--").partition("=")[::2] for one in sys.argv[1:])
directory = given["directory"]


def plain(step: op.Operation) -> op.Operation:
    if isinstance(step, op.ShareDevice):
        return op.AttachLoop(step.layer, step.file, step.size, store=step.store)
    return step


def assemble(selected: Selected, store: Store) -> int:
    if given.get("deaf"):
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGALRM, signal.SIGTERM))
    if given.get("sleep"):
        time.sleep(float(given["sleep"]))
    if given.get("crash"):
        os.abort()
    made = assembling.steps(selected.layers, directory, selected.base)
    steps = [plain(step) for step in made]
    return assembling.assemble(steps, store, directory)


bounds = Bounds(**{key: int(given[key]) for key in Bounds._fields if key in given})
places = Places(given["store"], (given["trust"],), given.get("report", f"{directory}/no-report"))
Server(socket.socket(fileno=3), places, assemble, directory, bounds).serve()
