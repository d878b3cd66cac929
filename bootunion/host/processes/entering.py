"""Makes a process root and starts a program in it.

Exit status, signals, terminal, working directory and environment pass through: without a process
namespace of its own the program takes this process' place, with one `supervising` stands in.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from bootunion.initrd import mount, namespaces
from bootunion.initrd.process import ProcessExecutor
from bootunion.initrd.store import Store as Reader
from bootunion.operations import Operation
from bootunion.values import NamedTuple

from ..unsharing import unshare
from . import supervising

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


class Job(NamedTuple):
    """How a root is made: `operations` over `stores`; in a user namespace when `user` says so.

    `prepare` is called in the new namespace before, and gives the trees that some layers are.
    """

    operations: tuple[Operation, ...]
    stores: tuple[Path, ...] = ()
    user: bool = False
    processes: bool = False
    prepare: Callable[[], Mapping[int, int]] = dict


def start(job: Job, command: Sequence[str]) -> int:
    """Run `command` in the root that `job` makes; gives its exit status, if it returns at all.

    Raises BootunionError; then nothing was started and nothing is left.
    """
    directory = _here()
    if job.user:
        _enter_user_namespace()

    def enter() -> None:
        unshare_mounts()
        carry_out(job)
        _go(directory)

    if job.processes:
        return supervising.supervise(enter, command)
    enter()
    return supervising.execute(command)


def carry_out(job: Job) -> None:
    """Carry out a job's operations in this process' mount namespace."""
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(str(store))) for store in job.stores]
        executor = ProcessExecutor(readers)
        stack.enter_context(executor)
        for layer, tree in job.prepare().items():
            executor.give(layer, tree)
        executor.execute(job.operations)


def unshare_mounts() -> None:
    """Give this process mounts of its own; what the machine mounts later is still seen.

    Raises BootunionError privilege-missing.
    """
    unshare(namespaces.NEWNS)
    mount.mount("", "/", "", mount.MS_REC | mount.MS_SLAVE)


def _enter_user_namespace() -> None:
    """Be, in a user namespace, who this process is outside, and nobody else."""
    user, group = os.getuid(), os.getgid()
    unshare(namespaces.NEWUSER)
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1"),
    ):  # fmt: skip
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"


def _go(directory: str) -> None:
    try:
        os.chdir(directory)
    except OSError as error:
        os.chdir("/")
        print(f"bootunion: {directory}: {error.strerror} in this root; starting in /",
              file=sys.stderr)  # fmt: skip
