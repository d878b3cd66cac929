"""What a running root is asked, in a fixed order: every group after all caches were dropped.

In µs for each call, the median: stat of paths that are there, in an order of chance; stat of names
that are not, in each of three directories with many files; open; a new mount namespace. In ms:
reading these directories, programs started in the root, `find / -xdev`, files from beginning to
end, reads of 4 KiB at places of chance, unmounting.

Runs natively (bench/running.py), and in a virtual machine as `asking.py ROOT CASE`, of which it
only needs the modules that an initramfs with the agent has.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable

PLACES = ("usr/bin", "usr/lib/x86_64-linux-gnu", "usr/share/doc")
# The compiler reads a real header and its own 30 MB; what it says goes to its standard output.
PROGRAMS = (("usr/bin/python3.11", "-c", "import json, re, subprocess"),
            ("usr/bin/perl", "-e", "1"),
            ("usr/bin/gcc-12", "-x", "c", "-S", "-o", "-", "/usr/include/stdlib.h"),
            ("usr/bin/git", "--version"), ("usr/bin/bash", "-c", ":"))  # fmt: skip
SAMPLE, SEQUENTIAL = 300, 64 << 20
_ABSENT, _RANDOM, _NAMESPACES = 1000, 2000, 20
_NEWNS = 0x00020000  # linux/sched.h
_AGENT = "/usr/lib/bootunion/agent"  # where its modules are in the virtual machine

_libc = ctypes.CDLL(None, use_errno=True)


class Case:
    """What is asked of each root: paths that are there, large files, programs with arguments."""

    def __init__(self, paths: list[str], large: list[str], programs: list[list[str]]) -> None:
        self.paths, self.large, self.programs = paths, large, programs


def measure(root: str, asked: Case) -> dict[str, float]:
    """Everything but unmounting."""
    paths = [f"{root}/{path}" for path in asked.paths]
    found = {"first stat, µs": median(os.stat, paths)}
    for place in PLACES:
        names = [f"{root}/{place}/absent-{number}" for number in range(_ABSENT)]
        found[f"miss in /{place}, µs"] = median(absent, names)
    found["first open, µs"] = median(opened, paths)
    for place in PLACES:
        found[f"readdir of /{place}, ms"] = took(lambda at=place: os.listdir(f"{root}/{at}"))  # noqa: PTH208
    for program in asked.programs:
        name = program[0].rpartition("/")[2]
        found[f"{name} started, ms"] = took(lambda argv=program: ran(root, argv))
    found["find / -xdev, ms"] = took(lambda: ran(root, ["usr/bin/find", "/", "-xdev"]))
    found["64 MiB in order, ms"] = took(lambda: [read(f"{root}/{one}") for one in asked.large])
    found["2,000 reads of 4 KiB, ms"] = took(lambda: at_random(root, asked.large))
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    found["mount namespace, µs"] = median(lambda _: new_namespace(home), [""] * _NAMESPACES)
    os.close(home)
    return found


def median(call: Callable[[str], object], paths: list[str]) -> float:
    """µs of a call."""
    drop()
    times = []
    for path in paths:
        begun = time.perf_counter_ns()
        call(path)
        times.append(time.perf_counter_ns() - begun)
    # Not `statistics`, which the initramfs has not.
    return sorted(times)[len(times) // 2] / 1000


def took(work: Callable[[], object]) -> float:
    """ms."""
    drop()
    begun = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - begun) / 1e6


def absent(path: str) -> None:
    try:
        os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        return
    raise RuntimeError(f"{path} is there")


def opened(path: str) -> None:
    os.close(os.open(path, os.O_RDONLY))


def read(path: str) -> None:
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def at_random(root: str, large: list[str]) -> None:
    luck = random.Random(1)
    for _ in range(_RANDOM):
        fd = os.open(f"{root}/{luck.choice(large)}", os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(fd, 4096, luck.randrange(max(os.fstat(fd).st_size - 4096, 1)))
        os.close(fd)


def ran(root: str, argv: list[str]) -> None:
    """A program of the root, which has to end well."""
    argv = ["chroot", root, f"/{argv[0]}", *argv[1:]]
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def new_namespace(home: int) -> None:
    """Make a mount namespace and leave it for `home`, which takes its copies of mounts away."""
    check(_libc.unshare(_NEWNS), "unshare")
    check(_libc.setns(home, _NEWNS), "setns")


def check(result: int, name: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), name)


def drop() -> None:
    """Forget what was read; what a mount pins stays."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")


def unmount_all(places: tuple[str, ...]) -> None:
    """Unmount what is at or below the places, the last that was mounted first."""
    with open("/proc/mounts", encoding="utf-8") as file:
        points = [line.split()[1] for line in file]
    for point in reversed(points):
        if any(f"{point}/".startswith(f"{place}/") for place in places):
            check(_libc.umount2(os.fsencode(point), 0), point)


def remove_devices() -> None:
    """Take the packages' devices away, as bootunion does; their loop devices go along."""
    sys.path.append(_AGENT)
    from bootunion.initrd import dm  # noqa: PLC0415

    with dm.Control() as control:
        dm.remove_all(control.names())
    assert not [name for name in os.listdir("/sys/block") if name.startswith("dm-")]  # noqa: PTH208


def main() -> None:
    """In a virtual machine: the root that was made at ROOT, then without it."""
    root = sys.argv[1]
    with open(sys.argv[2], encoding="utf-8") as file:
        asked = Case(**json.load(file))
    found = measure(root, asked)
    found["unmounting, ms"] = took(lambda: unmount_all((root, "/run/bootunion/private")))
    found["its devices removed, ms"] = took(remove_devices)
    print("ASKED", json.dumps(found))


if __name__ == "__main__":
    main()
