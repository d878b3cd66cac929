"""Somebody without privileges: asks the helper, enters the tree, says in JSON what is in there.

`helper_client.py SOCKET REQUEST [keep | send | hold]`; the request is the fields of `Request` as
JSON. The tree is kept until the end of standard input: as a descriptor, on its way through a
socket, or as a mount.
"""

import ctypes
import json
import os
import socket
import stat
import struct
import subprocess
import sys

from bootunion.errors import BootunionError
from bootunion.helper.protocol import Request
from bootunion.host.processes import asking
from bootunion.initrd import mount

libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUSER = 0x20000, 0x10000000
PLACE = "/mnt"


def enter(tree: int) -> None:
    """A user namespace in which this user is root, with the tree at PLACE."""
    uid, gid = os.getuid(), os.getgid()
    assert libc.unshare(NEWUSER | NEWNS) == 0, os.strerror(ctypes.get_errno())
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    mount.attach(tree, PLACE)


def clear(attributes: int) -> str:
    """What the kernel says to whoever takes attributes off the mount."""
    fd = os.open(PLACE, os.O_PATH | os.O_DIRECTORY)
    wanted = struct.pack("<QQQQ", 0, attributes, 0, 0)
    done = libc.syscall(442, fd, b"", mount.AT_EMPTY_PATH, wanted, ctypes.c_size_t(len(wanted)))
    return "" if done == 0 else os.strerror(ctypes.get_errno())


def tried(action: object) -> str:
    try:
        action()  # type: ignore[operator]
    except OSError as error:
        return error.strerror or ""
    return "done"


def look() -> dict[str, object]:
    files: dict[str, str] = {}
    found: dict[str, object] = {"files": files}
    for directory, _, names in os.walk(PLACE):
        for name in names:
            path = f"{directory}/{name}"
            kind = os.lstat(path).st_mode
            if stat.S_ISREG(kind) and os.lstat(path).st_size < 1000:
                with open(path, errors="replace") as file:
                    files[path.removeprefix(PLACE)] = file.read()
            elif stat.S_ISCHR(kind) or stat.S_ISBLK(kind):
                found[name] = tried(lambda path=path: os.close(os.open(path, os.O_RDONLY)))
    flags = os.statvfs(PLACE).f_flag
    found["flags"] = [bool(flags & one) for one in (os.ST_RDONLY, os.ST_NOSUID, os.ST_NODEV)]
    found["cleared"] = [clear(one) for one in (1, 2, 4, 7)]
    found["remounted"] = tried(lambda: mount.mount("", PLACE, "", mount.MS_REMOUNT))
    found["remounted-bind"] = tried(lambda: mount.mount("", PLACE, "", mount.MS_REMOUNT | 4096))
    found["written"] = tried(lambda: open(f"{PLACE}/new", "w").close())
    found["flags-after"] = bool(os.statvfs(PLACE).f_flag & os.ST_NODEV)
    for name in ("null", "disk"):
        if os.path.exists(f"{PLACE}/{name}"):
            found[f"{name}-after"] = tried(
                lambda name=name: os.close(os.open(f"{PLACE}/{name}", os.O_RDONLY))
            )
    if os.path.exists(f"{PLACE}/whoami"):
        done = subprocess.run([f"{PLACE}/whoami"], capture_output=True, text=True, check=False)
        found["whoami"] = done.stdout.strip()
    return found


def main() -> None:
    request = Request(**json.loads(sys.argv[2]))
    libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: /proc/self is this user's
    try:
        tree, granted = asking.ask(sys.argv[1], request, patience=0)
    except BootunionError as error:
        print(json.dumps({"code": error.code, "text": str(error)}), flush=True)
        return
    ways = socket.socketpair()
    if "send" in sys.argv[3:]:
        socket.send_fds(ways[0], [b"."], [tree])
        os.close(tree)
    if sys.argv[3:] in (["keep"], ["send"]):
        found: dict[str, object] = {}
    else:
        enter(tree)
        os.close(tree)
        found = look()
    found["granted"] = granted._asdict()
    print(json.dumps(found), flush=True)
    if sys.argv[3:]:
        sys.stdin.read()


main()
