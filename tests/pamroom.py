"""A root with users, a store and PAM of its own, in a mount namespace that ends with its process.

It is the host's, directory by directory, but for /etc, /run and /pkgs: real PAM modules work in it
as they do on a machine, and nothing on this one changes.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bootunion.host import hooks
from bootunion.host.processes.entering import unshare_mounts
from bootunion.initrd import mount

USERS = {"alice": 4001, "bob": 4002, "carol": 4003}
MEMBERS = "bootunion-logins:x:4100:alice,bob\ndevelopers:x:4101:bob\n"
_OWN = ("etc", "run", "pkgs", "old_root", "lost+found")
_BIND_REC = 4096 | 16384  # MS_BIND | MS_REC, linux/mount.h


def run(work: Callable[[], Any], top: Path, store: Path, trust: Path) -> Any:
    """What `work` gives (JSON) when it runs as root in a room made below `top`."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            _make(top, store, trust)
            os.write(writing, json.dumps(work()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return json.loads(said)


def session(user: str, look: Callable[[], Any]) -> Any:
    """Open a session of the service `test` as a login would, and give what `look` finds in it.

    Gives None when PAM refuses. Each call has a process of its own.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            found = look() if _open_session(user) == 0 else None
            os.write(writing, json.dumps(found).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return json.loads(said)


def write(path: str, text: str, mode: int = 0o644) -> None:
    """Write a file of the room."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)


def _make(top: Path, store: Path, trust: Path) -> None:
    unshare_mounts()
    room = top / "room"
    room.mkdir()
    mount.mount("room", str(room), "tmpfs", 0, "mode=0755")
    for entry in Path("/").iterdir():
        place = room / entry.name
        if entry.is_symlink():
            place.symlink_to(entry.readlink())
        elif entry.is_dir() and entry.name not in _OWN:
            place.mkdir()
            mount.mount(str(entry), str(place), "", _BIND_REC)
    for name in ("etc", "run/bootunion", "pkgs"):
        (room / name).mkdir(parents=True)
    mount.mount(str(store), str(room / "pkgs"), "", _BIND_REC)
    shutil.copytree(trust, room / "run/bootunion/trust")
    # As on a machine under systemd: mounts are shared, which a root that is pivoted to may not be.
    mount.pivot(str(room))
    mount.mount("", "/", "", mount.MS_REC | 1 << 20)  # MS_SHARED
    _write_users()
    for path, file in hooks.collect(["login"], "/usr", sys.executable).items():
        # The room's /usr is the host's: the script has to lie elsewhere.
        text = file.data.decode().replace("/usr/lib/bootunion", "/run/bootunion")
        write(path.replace("/usr/lib/bootunion", "/run/bootunion"), text, file.mode)
    write("/etc/pam.d/test", "@include bootunion-login\nsession required pam_permit.so\n")


def _write_users() -> None:
    lines = {"root": 0, **USERS}
    write("/etc/passwd", "".join(f"{name}:x:{uid}:{uid}::/:/bin/sh\n"
                                 for name, uid in lines.items()))  # fmt: skip
    groups = "".join(f"{name}:x:{uid}:\n" for name, uid in lines.items())
    write("/etc/group", groups + MEMBERS)
    write("/etc/nsswitch.conf", "passwd: files\ngroup: files\n")
    write("/etc/security/namespace.conf", "")


_Converse = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, *(ctypes.c_void_p,) * 3)


class _Conversation(ctypes.Structure):
    _fields_ = (("converse", _Converse), ("data", ctypes.c_void_p))


def _open_session(user: str) -> int:
    """pam_open_session(3)'s answer; 0 is success."""
    pam = ctypes.CDLL("libpam.so.0")
    handle = ctypes.c_void_p()
    conversation = _Conversation(_Converse(lambda *_: 19), None)  # PAM_CONV_ERR: nobody is there
    started = pam.pam_start(b"test", user.encode(), ctypes.byref(conversation),
                            ctypes.byref(handle))  # fmt: skip
    assert started == 0
    os.chdir("/")
    return int(pam.pam_open_session(handle, 0))
