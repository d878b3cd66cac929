"""Runs a root's own programs inside it: maintainer scripts, dracut, commands of a system.yaml.

The root gets the file systems that its programs expect, and nothing of the host: no network, no
processes, no devices but the harmless ones.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import NamedTuple

from bootunion.initrd import mount

from . import run

_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9),
            "tty": (5, 0)}  # fmt: skip
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
          "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"}  # fmt: skip
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Sandbox(NamedTuple):
    """A root with its run-time file systems. `binds` maps host paths to paths in the root."""

    root: Path
    environment: Mapping[str, str] = {}
    binds: Mapping[str, str] = {}

    def prepare(self) -> None:
        """Mount what programs expect. Call it inside a mount namespace."""
        for name, options in (("dev", "mode=0755"), ("run", "mode=0755"), ("tmp", "mode=1777")):
            self.empty(f"/{name}", options)
        mount.mount("sysfs", str(self.root / "sys"), "sysfs", mount.MS_RDONLY)
        for name, (major, minor) in _DEVICES.items():
            path = self.root / "dev" / name
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            path.chmod(0o666)
        for name, target in _LINKS.items():
            (self.root / "dev" / name).symlink_to(target)
        for name in ("pts", "shm"):
            (self.root / "dev" / name).mkdir()
        mount.mount("devpts", str(self.root / "dev/pts"), "devpts", 0, "newinstance,ptmxmode=0666")
        (self.root / "run/lock").mkdir(mode=0o1777)
        for source, target in self.binds.items():
            self.bind(source, target)

    def empty(self, path: str, options: str = "mode=0755") -> None:
        """Hide a directory of the root behind an empty tmpfs."""
        target = self.root / path.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        mount.mount("tmpfs", str(target), "tmpfs", 0, options)

    def bind(self, source: str, path: str) -> None:
        """Put a host file or directory over an existing path of the root."""
        mount.mount(source, str(self.root / path.lstrip("/")), "", _MS_BIND)

    def run(self, argv: Sequence[str], *, what: str, **more: str) -> CompletedProcess[bytes]:
        """Run a program of the root, in a process namespace that dies with it.

        `more` is added to its environment. Raises BootunionError program-failed.
        """
        outside = ["unshare", "--pid", "--fork", "--kill-child", "--mount",
                   f"--root={self.root}", "--mount-proc", "--"]  # fmt: skip
        inside = {**self.environment, **more}
        # The host's environment stays outside: it differs from machine to machine.
        clean = ["/usr/bin/env", "-i", "LC_ALL=C.UTF-8", "HOME=/root", f"PATH={_PATH}"]
        clean += [f"{key}={value}" for key, value in sorted(inside.items())]
        return run.run([*outside, *clean, *argv], what=what)


_MS_BIND = 4096  # linux/mount.h
