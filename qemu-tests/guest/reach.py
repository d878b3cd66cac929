"""Looks at the root of this process as whoever wants to get at a library that is not on their list.

The arguments are the versions that are. One line of JSON: the version that programs get, and each
other way to a version, with a mount namespace of one's own in a user namespace, too.
"""

import ctypes
import json
import os
import subprocess
import sys

LIBRARY = "usr/lib/x86_64-linux-gnu/libpin.so.1"
_MNT_DETACH = 2


def version() -> str:
    """What the dynamic loader finds."""
    try:
        return str(ctypes.CDLL("libpin.so.1").pin_version())
    except OSError:
        return ""


def program() -> str:
    try:
        done = subprocess.run(["/usr/bin/pin"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "no program"
    return done.stdout.strip() or done.stderr.strip()[-120:]


def points() -> list[str]:
    with open("/proc/self/mountinfo") as file:
        return [line.split()[4].encode().decode("unicode_escape") for line in file]


def prefixes() -> list[str]:
    """Directories that another root may be seen from."""
    found = ["/", *points(), "/proc/self/cwd", "/run/bootunion/process/root"]
    for number in filter(str.isdigit, os.listdir("/proc")):
        found += [f"/proc/{number}/root", f"/proc/{number}/cwd"]
        try:
            found += [f"/proc/{number}/fd/{fd}" for fd in os.listdir(f"/proc/{number}/fd")]
        except OSError:
            continue
    return found


def ways(allowed: list[str]) -> list[str]:
    """The ways to a version that is not allowed."""
    found = []
    for prefix in prefixes():
        for up in ("", "/..", "/../.."):
            path = f"{prefix}{up}/{LIBRARY}"
            try:
                with open(path, "rb") as file:
                    data = file.read()
            except OSError:
                continue
            said = data.partition(b"PIN-VERSION-")[2][:1].decode()
            if said not in allowed:
                found.append(f"{path}: {said}")
    for directory in ("/pkgs", "/run/bootunion/private", "/run/bootunion/roots",
                      "/run/bootunion/process"):  # fmt: skip
        try:
            found += [f"{directory}/{name}" for name in os.listdir(directory)]
        except OSError:
            continue
    for name in os.listdir("/dev"):
        if name.startswith(("dm-", "loop")) and name != "loop-control":
            try:
                os.close(os.open(f"/dev/{name}", os.O_RDONLY))
            except OSError:
                continue
            found.append(f"/dev/{name}")
    return found


def nested(allowed: list[str]) -> list[str]:
    """The same with everything unmounted that can be, as root of a user namespace."""
    libc = ctypes.CDLL(None)
    for point in sorted(points(), key=len, reverse=True):
        libc.umount2(point.encode(), _MNT_DETACH)
    try:
        return ways(allowed)
    except FileNotFoundError:
        return []  # not even /proc is left


def main() -> None:
    allowed = sys.argv[1:]
    if os.getuid() == 0 and allowed[:1] != ["--nested"]:
        # Root gets everywhere.
        print(json.dumps({"version": version(), "program": program()}))
        return
    if allowed[:1] == ["--nested"]:
        print(json.dumps(nested(allowed[1:])))
        return
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable, __file__, "--nested",
         *allowed], capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(json.dumps({
        "version": version(), "program": program(), "mounts": len(points()),
        "ways": ways(allowed),
        "nested": json.loads(done.stdout) if done.stdout else done.stderr[-200:],
        "directory": os.getcwd(),
    }))  # fmt: skip


main()
