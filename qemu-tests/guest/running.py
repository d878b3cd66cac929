"""Runs inside the booted machine: what it says of its root, before and after changes underneath.

Each look is one line of JSON. `green` looks once; `red` changes one thing after the other.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

UPPER = "/run/bootunion/private/upper"


def words(*argv: str) -> str:
    """What a program says; it must succeed."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        raise RuntimeError(f"{argv}: {said}")
    return said


def bootunion(*argv: str) -> dict[str, object]:
    """What a command answers: exit status, JSON when it is that, its errors, seconds."""
    start = time.monotonic()
    done = subprocess.run(["bootunion", *argv], capture_output=True, text=True, check=False)
    found: dict[str, object] = {"status": done.returncode, "error": done.stderr[-500:],
                                "seconds": round(time.monotonic() - start, 1)}  # fmt: skip
    try:
        found["said"] = json.loads(done.stdout)
    except ValueError:
        found["text"] = done.stdout[-500:]
    return found


def tell(name: str, found: object) -> None:
    print("BOOTUNION-" + f"LOOK {json.dumps({'name': name, 'found': found})}", flush=True)


def image(package: str) -> Path:
    return next(Path("/pkgs/packages").glob(f"{package}_*.squashfs"))


def another_table() -> None:
    """dm-verity that lets damaged blocks through, in the place of the list's.

    The kernel takes no other target there: verity is immutable (KERNEL: drivers/md/dm.c).
    """
    name = next(line.split()[0] for line in words("dmsetup", "ls").splitlines()
                if image("less").stem.rpartition("_")[2] in line)  # fmt: skip
    table = words("dmsetup", "table", name)
    start, length, _, _, data = table.split()[:5]
    try:
        replace_table(name, f"{start} {length} linear {data} 0")
        tell("linear", "taken")
    except RuntimeError as refused:
        tell("linear", str(refused))
    replace_table(name, f"{table} 1 ignore_corruption")
    tell("another-table", bootunion("check-root", "--json"))
    replace_table(name, table)


def replace_table(name: str, table: str) -> None:
    words("dmsetup", "load", "--readonly", name, "--table", table)
    words("dmsetup", "suspend", "--nolockfs", name)
    words("dmsetup", "resume", name)


def no_upper() -> None:
    os.mkdir("/run/aside")
    words("mount", "--bind", UPPER, "/run/aside")
    words("umount", UPPER)
    tell("no-upper", bootunion("check-root", "--json"))
    words("mount", "--bind", "/run/aside", UPPER)


def covered() -> None:
    """A mount over a file, and another package's image in the place of one in the store."""
    words("mount", "--bind", "/etc/hostname", "/usr/bin/curl")
    words("mount", "-o", "remount,rw", "/pkgs")
    victim = image("zstd")
    aside = victim.with_name(".aside")
    aside.write_bytes(image("less").read_bytes())
    aside.rename(victim)
    tell("covered", bootunion("check-root", "--json", "--metadata-only"))
    tell("doctor", bootunion("doctor"))
    words("umount", "/usr/bin/curl")


def flipped() -> None:
    """One bit of a package, underneath everything."""
    words("mount", "-o", "remount,rw", "/pkgs")
    with image("curl").open("r+b") as file:
        file.seek(4096 * 3 + 11)
        byte = file.read(1)[0]
        file.seek(4096 * 3 + 11)
        file.write(bytes([byte ^ 1]))
    Path("/proc/sys/vm/drop_caches").write_text("3")
    tell("flipped", bootunion("check-root", "--json"))


def main() -> None:
    if sys.argv[1] == "green":
        tell("root", bootunion("check-root", "--json", *sys.argv[2:]))
        tell("drift", bootunion("drift", "--json"))
    else:
        for change in (another_table, no_upper, covered, flipped):
            change()


main()
