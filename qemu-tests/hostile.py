"""A store that is itself a root that boots, and an agent that cannot do its work."""

from __future__ import annotations

import shutil
from pathlib import Path

import machine
import tiny

_EVIL_INIT = """\
#!/bin/sh
/bin/busybox mount -t devtmpfs dev /dev
echo "EVIL ROOT RUNS" > /dev/ttyS0
/bin/busybox poweroff -f
"""
_KILLED = """\
import os, signal
print("AGENT IS KILLED", flush=True)
os.kill(os.getppid(), signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""
BROKEN = {
    "python cannot start": ("usr/bin/python3", b"this is no program\n"),
    "agent and its shell are killed": ("usr/lib/bootunion/bootunion-agent", _KILLED.encode()),
    "agent is an empty file": ("usr/lib/bootunion/bootunion-agent", b""),
}


def evil_disk(lists: Path, work: Path) -> Path:
    """Lists on a file system that a generator takes for a root."""
    tree = work / "tree"
    (tree / "bin").mkdir(parents=True)
    shutil.copytree(lists, tree / "lists")
    busybox = shutil.which("busybox") or "/bin/busybox"
    shutil.copy(busybox, tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    for name in ("proc", "sys", "dev", "run", "tmp", "etc", "sbin", "lib64"):
        (tree / name).mkdir()
    (tree / "etc/os-release").write_text("ID=evil\n")
    for name in ("lib64/ld-linux-x86-64.so.2", "sbin/init", "init"):
        (tree / name).write_text(_EVIL_INIT)
        (tree / name).chmod(0o755)
    return machine.store_disk(tree, work / "disk.img")


def broken_initrd(initrd: Path, how: str, work: Path) -> Path:
    """An initramfs in which one of the agent's files is replaced."""
    path, data = BROKEN[how]
    place = work / "extra" / path
    place.parent.mkdir(parents=True)
    place.write_bytes(data)
    place.chmod(0o755)
    extra = tiny.archive(work / "extra", work / "extra.img")
    return tiny.appended(initrd, extra, work / "initrd.img")
