"""Runs a root's own programs inside it: maintainer scripts, dracut, commands of a system.yaml.

The root gets the file systems that its programs expect, and nothing of the host: no network, no
processes, no terminal, no devices but the harmless ones, no say in the running kernel. And
nothing of the caller's: neither umask, limits and environment nor standard input.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import SubprocessError
from typing import NamedTuple

from bootunion.errors import BootunionError
from bootunion.initrd import mount

from . import namespace, run
from .unsharing import new_pid_namespace

_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9),
            "tty": (5, 0)}  # fmt: skip
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
          "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"}  # fmt: skip
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Of /proc, what steers the whole machine and not a process (proc(5)); read-only inside.
_KERNELS = ("acpi", "bus", "fs", "irq", "mtrr", "scsi", "sys", "sysrq-trigger")
# What no file system guards: kernel modules, ports and raw memory, process accounting, reboot,
# the clock, audit and security rules, the kernel's log, wake-ups (linux/capability.h).
_CAPABILITIES = (16, 17, 20, 22, 25, 30, 32, 33, 34, 35, 36)
_PR_CAPBSET_DROP = 24  # linux/prctl.h
_MS_NOEXEC = 8  # linux/mount.h
_MS_REMOUNT = 32
_MS_BIND = 4096
_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
_LIMITS = {
    resource.RLIMIT_AS: _UNLIMITED,
    resource.RLIMIT_CORE: (0, 0),  # a core file would end up in the generated layer
    resource.RLIMIT_CPU: _UNLIMITED,
    resource.RLIMIT_DATA: _UNLIMITED,
    resource.RLIMIT_FSIZE: _UNLIMITED,
    resource.RLIMIT_NOFILE: (1024, 4096),  # programs that close every descriptor take the time
    resource.RLIMIT_NPROC: _UNLIMITED,
    resource.RLIMIT_STACK: (8 << 20, resource.RLIM_INFINITY),
}
_libc = ctypes.CDLL(None, use_errno=True)


class Sandbox(NamedTuple):
    """A root with its run-time file systems. `binds` maps host paths to paths in the root."""

    root: Path
    environment: Mapping[str, str] = {}
    binds: Mapping[str, str] = {}

    def prepare(self) -> None:
        """Mount what programs expect. Call it inside `namespace.in_namespace`."""
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
        (self.root / "dev/shm").chmod(0o1777)
        mount.mount("devpts", str(self.root / "dev/pts"), "devpts", 0, "newinstance,ptmxmode=0666")
        (self.root / "run/lock").mkdir()
        (self.root / "run/lock").chmod(0o1777)
        for source, target in self.binds.items():
            self.bind(source, target)

    def empty(self, path: str, options: str = "mode=0755") -> None:
        """Hide a directory of the root behind an empty tmpfs."""
        target = self.root / path.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        mount.mount("tmpfs", str(target), "tmpfs", 0, options)

    def bind(self, source: str, path: str) -> None:
        """Put a host file or directory over a path of the root; below /run it is made first."""
        target = self.root / path.lstrip("/")
        if path.startswith("/run/") and not target.exists():
            target.touch()
        mount.mount(source, str(target), "", _MS_BIND)

    def run(
        self, argv: Sequence[str], *, what: str,
        heard: Callable[[str], None] = lambda _: None, **more: str,
    ) -> None:  # fmt: skip
        """Run a program of the root, in mount and process namespaces that die with it.

        `heard` gets each line of its standard output, `more` is added to its environment. Raises
        BootunionError program-failed.
        """
        inside = {**self.environment, **more}
        # The host's environment stays outside: it differs from machine to machine.
        clean = ["/usr/bin/env", "-i", "LC_ALL=C.UTF-8", "HOME=/root", f"PATH={_PATH}"]
        clean += [f"{key}={value}" for key, value in sorted(inside.items())]
        try:
            with new_pid_namespace():
                run.follow(
                    [*clean, *argv], what=what, heard=heard, inside=self._enter, program=argv[0]
                )
        except FileNotFoundError:
            text = f"{what}: the root has no {clean[0]} that can be run"
            raise BootunionError("program-failed", text) from None
        except (OSError, SubprocessError) as error:
            raise BootunionError("program-failed", f"{what}: cannot be started: {error}") from None

    def _enter(self) -> None:
        """In the new process, before its program: go into the root and give up what is outside."""
        namespace.unshare_mounts()
        proc = self.root / "proc"
        flags = mount.MS_NOSUID | mount.MS_NODEV | _MS_NOEXEC
        mount.mount("proc", str(proc), "proc", flags)
        for path in (proc / name for name in _KERNELS):
            if path.exists():
                mount.mount(str(path), str(path), "", _MS_BIND | mount.MS_REC)
                read_only = _MS_BIND | _MS_REMOUNT | mount.MS_RDONLY | flags
                mount.mount("", str(path), "", read_only)
        os.chroot(self.root)
        os.chdir("/")
        for capability in _CAPABILITIES:
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
        for limit, (soft, hard) in _LIMITS.items():
            # Without the right to raise a limit, in a container perhaps, the caller's stays.
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(limit, (soft, hard))
