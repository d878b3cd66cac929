"""A virtual machine on a serial console: start, wait for text, type, end with a status.

A boot counts only by a positive marker plus QEMU's own exit status, which the guest sets through
the isa-debug-exit device: a power-off, a panic or a killed QEMU never passes for success.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

EXIT_PORT = 0xF4
SUCCESS = 42  # the guest writes it to the port; QEMU ends with (42 << 1) | 1
_PROBE_SECONDS = 8


class Qemu(NamedTuple):
    """A QEMU: how it is started."""

    argv: tuple[str, ...]
    name: str


QEMU = Qemu(("qemu-system-x86_64",), "this machine's")


class MachineError(Exception):
    """The machine broke: it ended, hung or said nothing. Not the same as a failed assertion."""


@functools.cache
def accelerator(kernel: Path) -> str:
    """ "kvm" where a stock kernel really gets going under it, "tcg" elsewhere.

    Found by booting: /dev/kvm can exist and even make a machine that never runs a kernel.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    argv = ["qemu-system-x86_64", "-accel", "kvm", "-m", "512", "-display", "none", "-no-reboot",
            "-monitor", "none", "-serial", "stdio", "-kernel", str(kernel),
            "-append", "console=ttyS0 panic=-1"]  # fmt: skip
    try:
        # Not our terminal: QEMU makes it raw, and killed at the time limit it leaves it so.
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=_PROBE_SECONDS, check=False)  # fmt: skip
        said = done.stdout
    except subprocess.TimeoutExpired as error:
        said = error.stdout or b""
    return "kvm" if b"Linux version" in said else "tcg"


class Machine:
    """A running QEMU. Use `boot`, which ends it whatever happens."""

    def __init__(self, argv: list[str], log: Path, *, show: bool) -> None:
        self.log = log
        self._show = show
        self._text = ""
        self._seen = 0
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self.log.open("wb") as log:
            while data := os.read(self._process.stdout.fileno(), 65536):
                log.write(data)
                log.flush()
                if self._show:
                    os.write(1, data)
                self._text += data.decode(errors="replace")

    @property
    def console(self) -> str:
        """Everything that the console said so far."""
        return self._text

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        """Wait until the console says `pattern`, behind what was waited for before."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self._process.poll() is not None
            if ended:
                self._reader.join()  # its last words
            found = re.compile(pattern, re.MULTILINE).search(self._text, self._seen)
            if found:
                self._seen = found.end()
                return found
            if ended or time.monotonic() > deadline:
                why = f"ended with {self._process.returncode}" if ended else f"waited {seconds} s"
                tail = self._text[-3000:]
                raise MachineError(f"no {pattern!r} on the console ({why}):\n{tail}")
            time.sleep(0.1)

    def sleep(self, seconds: float) -> None:
        """Wait, at most until the machine ends."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def type(self, text: str) -> None:
        """Type a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode() + b"\n")
        self._process.stdin.flush()

    def login(self, seconds: float = 300) -> None:
        """Log in as root on the console."""
        self.wait_for(r"demo login:", seconds)
        self.type("root")
        self.wait_for(r"Password:", 60)
        self.type("bootunion")
        self.wait_for(r"root@demo:~#", 60)
        # The kernel's words would come between those of the programs that are run from here on.
        self.run("dmesg -n 1", 60)

    def run(self, command: str, seconds: float = 300) -> tuple[int, str]:
        """Run a command in the console's shell: (exit status, output)."""
        # The marker is split in what is typed, so that the echo of the line is no match.
        self.type(f"{command}; echo BOOTUNION'-'STATUS=$?=")
        start = self._seen
        found = self.wait_for(r"BOOTUNION-STATUS=(\d+)=", seconds)
        said = self._text[start : found.start()].partition("\n")[2]
        # The next prompt belongs to this command: the next one's words begin behind it.
        self.wait_for(r"root@demo:~#", 60)
        return int(found.group(1)), said

    def interact(self) -> None:
        """Give the console to the person at the terminal, until the machine ends."""
        while self._process.poll() is None:
            line = sys.stdin.readline()
            if not line:
                self._process.wait()
            elif self._process.poll() is None:
                self.type(line.rstrip("\n"))

    def end(self, seconds: float = 60) -> int:
        """Wait until QEMU ends; its exit status."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise MachineError(f"still running after {seconds} s:\n{self._text[-3000:]}") from None

    def succeed(self) -> None:
        """Let the guest say that it succeeded, and check that QEMU heard it."""
        self.type("sync; printf '\\052' | dd of=/dev/port bs=1 seek=244 conv=notrunc status=none")
        status = self.end()
        if status != SUCCESS << 1 | 1:
            raise MachineError(f"QEMU ended with {status}, not with the guest's success")

    def kill(self) -> None:
        """End QEMU now."""
        self._process.kill()
        self._process.wait()
        self._reader.join(5)


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """One machine at a time among all who name the same file in BOOTUNION_QEMU_LOCK."""
    path = os.environ.get("BOOTUNION_QEMU_LOCK")
    if not path:
        yield
        return
    with Path(path).open("a") as file:  # closing it lets the next one go
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def boot(
    kernel: Path,
    initrd: Path,
    cmdline: str,
    disk: Path | None,
    log: Path,
    *,
    memory: int = 2048,
    show: bool = False,
    keep_writes: bool = False,
    processors: int = 2,
    qemu: Qemu = QEMU,
    more: tuple[str, ...] = (),
) -> Iterator[Machine]:
    """A machine with `disk` and its console in `log`; writes are thrown away unless kept.

    Where several people share a host, the file BOOTUNION_QEMU_LOCK lets one boot at a time.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    how = accelerator(kernel)
    # no_timer_check: on a busy host an emulated timer may seem dead while the kernel looks at it.
    argv = [
        *qemu.argv, "-accel", how, "-smp", str(processors), "-m", str(memory),
        "-display", "none", "-no-reboot", "-monitor", "none", "-serial", "stdio",
        "-kernel", str(kernel), "-initrd", str(initrd),
        "-append", f"console=ttyS0 panic=1 no_timer_check {cmdline}",
        "-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4",
        "-object", "rng-random,filename=/dev/urandom,id=rng", "-device", "virtio-rng-pci,rng=rng",
        "-nic", "none", *more,
    ]  # fmt: skip
    if disk is not None:
        snapshot = "off" if keep_writes else "on"
        argv += ["-drive", f"file={disk},if=virtio,format=raw,snapshot={snapshot}"]
    with turn():
        machine = Machine(argv, log, show=show)
        try:
            yield machine
        finally:
            machine.kill()


def store_disk(
    store: Path, disk: Path, extra: Path | None = None, *, sealable: bool = False
) -> Path:
    """An ext4 image labelled `pkgs` that holds a store, and `extra` as its directory `tests`.

    Made without mounting; no root is needed for it. `sealable`: files in it can have fs-verity.
    """
    with tempfile.TemporaryDirectory(dir=disk.parent) as directory:
        tree = Path(directory) / "tree"
        subprocess.run(["cp", "-al", str(store), str(tree)], check=True)
        if extra is not None:
            subprocess.run(["cp", "-a", str(extra), str(tree / "tests")], check=True)
        files = (path.stat().st_size for path in tree.rglob("*") if path.is_file())
        used = sum(size + -size % 4096 for size in files)
        # A sixteenth more is what ext4 keeps for itself: inodes, the journal, block maps.
        size = ((used + used // 16) // (1 << 20) + 96) << 20
        aside = disk.with_suffix(".new")
        with aside.open("wb") as file:
            file.truncate(size)
        subprocess.run(
            ["mkfs.ext4", "-q", "-L", "pkgs", "-d", str(tree), "-E", "root_owner=0:0",
             *(["-O", "verity", "-b", "4096"] if sealable else []), str(aside)],
            check=True, env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"},
        )  # fmt: skip
        aside.rename(disk)
    return disk
