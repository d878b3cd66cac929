"""The root of a session that is being opened: what pam_namespace runs (docs/logins.md, ADR 0007).

pam_namespace has given the session's process a mount namespace of its own and waits for us. Making
another mount the root of that namespace moves every process in it whose root was the old one
(pivot_root(2)): the session's, and so all that comes of it.

It fails closed. The last thing done is a word in the session's own directory that the user is where
they belong; without it pam_listfile refuses the session. pam_namespace heeds no exit status, so
login-root kills itself as well.
"""

from __future__ import annotations

import contextlib
import os
import sys
import syslog
from pathlib import Path

from bootunion.errors import BootunionError
from bootunion.host import console, namespace
from bootunion.host.processes import choosing, entering, viewing
from bootunion.host.processes.selecting import Selected, Wanted
from bootunion.initrd import mount

from . import system, users
from .system import System
from .users import Entry

ENTERED = "entered"
"""The file that says who may go on, in the session's directory."""


def enter(name: str, place: Path, where: System, table: Path = users.PLACE) -> Entry | None:
    """Give a user who has an entry their root, in this mount namespace; then let them go on.

    `place` is the directory that pam_namespace mounted for the session. Raises BootunionError
    login-namespace, users-invalid, user-unknown, or what is wrong with the list or packages.
    """
    namespace.require_root("a session's root")
    _check_namespace(place)
    entry = users.find(users.read(table), users.look_up(name))
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if entry is not None:
            _enter(entry, where)
        # By descriptor: /run may be another one by now.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        word = os.open(ENTERED, flags, 0o644, dir_fd=fd)
        with os.fdopen(word, "w", encoding="utf-8") as file:
            file.write(f"{name}\n")
    finally:
        os.close(fd)
    return entry


def _enter(entry: Entry, where: System) -> Selected:
    selected = system.packages(Wanted(entry.list_name, entry.with_, entry.without), where)
    view = viewing.view(selected, pure=False, processes=False)
    job = choosing.job(selected, view, where.search, console.Silent())
    # What the machine mounts later is seen in here, what the session mounts nowhere else.
    mount.mount("", "/", "", mount.MS_REC | mount.MS_SLAVE)
    entering.carry_out(job)
    return selected


def _check_namespace(place: Path) -> None:
    """Refuse to work on the mounts of the whole machine (login-namespace)."""
    text = ""
    if not os.path.ismount(place):
        text = "is no directory of a session's own; pam_namespace has to mount it"
    with contextlib.suppress(PermissionError):
        if os.stat("/proc/self/ns/mnt").st_ino == os.stat("/proc/1/ns/mnt").st_ino:
            text = "is in the machine's mount namespace, not in a session's"
    if text:
        raise BootunionError("login-namespace", text, subject=str(place))


def main() -> int:
    """`python3 -m bootunion.host.logins.session USER DIRECTORY`; what fails is said to syslog."""
    name, place = sys.argv[1:]
    try:
        enter(name, Path(place), System())
    except BootunionError as error:
        _say(f"session of {name} refused: {error} [{error.code}]. {error.way_out}")
        return error.status
    except Exception as error:
        _say(f"session of {name} refused: {error!r}")
        return 1
    return 0


def _say(text: str) -> None:
    print(f"bootunion: {text}", file=sys.stderr)
    syslog.openlog("bootunion", syslog.LOG_PID, syslog.LOG_AUTH)
    syslog.syslog(syslog.LOG_ERR, text)


if __name__ == "__main__":
    sys.exit(main())
