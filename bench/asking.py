"""What a running root is asked, in a fixed order: everything for the first time.

In µs for each call: stat of paths that are there, in an order of chance; stat of names that are
not, in each of three directories with many files; open. In ms: reading these directories, programs
started in the root, `find -xdev`, files from beginning to end, reads of 4 KiB at places of chance,
new mount namespaces, unmounting.

Runs natively (bench/running.py), and in a virtual machine as `asking.py ROOT CASE`, of which it
only needs the modules that an initramfs with the agent has.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable

PLACES = ("usr/bin", "usr/lib/x86_64-linux-gnu", "usr/share/doc")
PROGRAMS = (("usr/bin/python3.11", "-c", "import json, re, subprocess"),
            ("usr/lib/gcc/x86_64-linux-gnu/12/cc1", "--version"), ("usr/bin/perl", "-e", "1"),
            ("usr/bin/gcc-12", "--version"), ("usr/bin/git", "--version"),
            ("usr/bin/bash", "-c", ":"))  # fmt: skip
_LIBRARIES = "/usr/lib/x86_64-linux-gnu"
SAMPLE, SEQUENTIAL = 300, 64 << 20
_ABSENT, _RANDOM = 1000, 2000


class Case:
    """What is asked of each root: paths that are there, large files, programs with arguments."""

    def __init__(self, paths: list[str], large: list[str], programs: list[list[str]]) -> None:
        self.paths, self.large, self.programs = paths, large, programs


def measure(root: str, asked: Case) -> dict[str, float]:
    """Everything but unmounting."""
    found: dict[str, float] = {}
    show_devices(root)
    drop()
    found["stat, µs"] = median(os.stat, [f"{root}/{path}" for path in asked.paths])
    for place in PLACES:
        names = [f"{root}/{place}/absent-{number}" for number in range(_ABSENT)]
        found[f"miss in /{place}, µs"] = median(absent, names)
    found["open, µs"] = median(opened, [f"{root}/{path}" for path in asked.paths])
    for place in PLACES:
        found[f"readdir of /{place}, ms"] = took(lambda at=place: os.listdir(f"{root}/{at}"))  # noqa: PTH208
    for program in asked.programs:
        drop()
        argv = in_root(root, program)
        found[f"{program[0].rpartition('/')[2]} started, ms"] = took(lambda argv=argv: ran(argv))
    drop()
    found["find -xdev, ms"] = took(lambda: ran(["find", root, "-xdev"]))
    drop()
    found["64 MiB in order, ms"] = took(lambda: [read(f"{root}/{one}") for one in asked.large])
    drop()
    found["2,000 reads of 4 KiB, ms"] = took(lambda: at_random(root, asked.large))
    found["20 mount namespaces, ms"] = took(
        lambda: [ran(["unshare", "-m", "true"]) for _ in range(20)]
    )
    ran(["umount", f"{root}/dev"])
    return found


def show_devices(root: str) -> None:
    """Programs want /dev/null."""
    ran(["mount", "-o", "bind", "/dev", f"{root}/dev"])


def in_root(root: str, program: list[str]) -> list[str]:
    """The words that start a program in a root, which has no /lib and /lib64."""
    loader = [f"{_LIBRARIES}/ld-linux-x86-64.so.2", "--library-path", _LIBRARIES]
    return ["chroot", root, *loader, f"/{program[0]}", *program[1:]]


def median(call: Callable[[str], object], paths: list[str]) -> float:
    """µs of a call."""
    times = []
    for path in paths:
        begun = time.perf_counter_ns()
        call(path)
        times.append(time.perf_counter_ns() - begun)
    # Not `statistics`, which the initramfs has not.
    return sorted(times)[len(times) // 2] / 1000


def took(work: Callable[[], object]) -> float:
    """ms."""
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


def ran(argv: list[str]) -> None:
    """A program that has to end well."""
    nothing = subprocess.DEVNULL
    subprocess.run(argv, stdin=nothing, stdout=nothing, stderr=nothing, check=True)


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
            ran(["umount", point])


def main() -> None:
    """In a virtual machine: the root that was made at ROOT, then without it."""
    root = sys.argv[1]
    with open(sys.argv[2], encoding="utf-8") as file:
        asked = Case(**json.load(file))
    found = measure(root, asked)
    drop()
    found["unmounting, ms"] = took(lambda: unmount_all((root, "/run/bootunion/private")))
    print("ASKED", json.dumps(found))


if __name__ == "__main__":
    main()
