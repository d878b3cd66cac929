"""Makes the generated layer of what maintainer scripts wrote into the upper.

What goes in has to be the same bytes on every machine and at every time, must hold no secret that
all machines would share, and no marker that would hide a package's file.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Container, Iterator
from pathlib import Path

from bootunion import contents
from bootunion.contents import Entry
from bootunion.errors import BootunionError
from bootunion.merge import Namespace

from . import build, members, packaging, reproducible, secrets
from .sandbox import fixed_umask

# What scripts leave that differs from one composition to the next, or that nothing needs; each is
# made again when it is missing. docs/ has the table of what was seen to differ.
_VOLATILE = (
    "etc/.pwd.lock",
    "etc/*-",  # backups of passwd, group, shadow, subuid …
    "var/backups/*",  # the same by cron and dpkg-db-backup
    "var/cache/apt/*.bin",  # offsets in memory
    "var/cache/debconf/*-old",
    "var/cache/fontconfig/*",  # times of directories
    "var/cache/ldconfig",  # inodes and times of libraries
    "var/cache/man/*",  # times; mandb's hash order
    "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock*",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/systemd/timers/*",  # empty files whose time says when a timer ran
    "var/lib/ucf/*.[0-9]",
    "var/log/*.log",  # the hour of each step
    "var/log/apt/*",
)
_EMPTIED = ("var/log/btmp", "var/log/faillog", "var/log/lastlog", "var/log/wtmp")
# systemd's ConditionNeedsUpdate= compares their time with /usr's (systemd.unit(5)): equal means that
# users, hwdb and catalog are made. Without them each boot of a volatile root makes all that again.
_UPDATED = ("etc/.updated", "var/.updated")

_HOST_KEYS_UNIT = """\
[Unit]
Description=Make this machine's SSH host keys
Documentation=man:ssh-keygen(1)
ConditionPathIsReadWrite=/etc/ssh
ConditionPathExists=|!/etc/ssh/ssh_host_ecdsa_key
ConditionPathExists=|!/etc/ssh/ssh_host_ed25519_key
ConditionPathExists=|!/etc/ssh/ssh_host_rsa_key
Before=ssh.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/ssh-keygen -A
"""
_HOST_KEYS_WANTED = "[Unit]\nWants=bootunion-host-keys.service\nAfter=bootunion-host-keys.service\n"
_HOST_KEYS_FILES = {
    "etc/systemd/system/bootunion-host-keys.service": _HOST_KEYS_UNIT,
    "etc/systemd/system/ssh.service.d/10-bootunion.conf": _HOST_KEYS_WANTED,
    "etc/systemd/system/ssh@.service.d/10-bootunion.conf": _HOST_KEYS_WANTED,
}


def clean(upper: Path, below: Namespace, allowed: Container[str] = ()) -> None:
    """Take out of the upper what must not be in the generated layer.

    `below` is the merged namespace of the packages, `allowed` the absolute paths that scripts may
    take away from it. Raises BootunionError whiteout-found or secret-found; the upper is scratch
    and may be changed before that.
    """
    had_host_keys = any(upper.glob("etc/ssh/ssh_host_*_key"))
    for pattern in (*_VOLATILE, *secrets.MADE_AT_BOOT):
        for path in sorted(upper.glob(pattern)):
            # A whiteout stays for the check below: a script may not take away a package's file,
            # not even one of these.
            if not _is_whiteout(path):
                _remove(path)
    for name in _EMPTIED:
        if (upper / name).is_file():
            os.truncate(upper / name, 0)
    with fixed_umask():
        if had_host_keys:
            for name, text in _HOST_KEYS_FILES.items():
                _write(upper / name, text, 0o644)
        if (upper / "etc").is_dir():
            # Empty: filled in at every boot, and not taken for a first boot (machine-id(5)).
            _write(upper / "etc/machine-id", "", 0o444)
        for name in _UPDATED:
            if (upper / name).parent.is_dir():
                _write(upper / name, "", 0o644)
    _settle_shadow(upper / "etc/shadow")
    _refuse_markers(upper, allowed)
    _drop_unchanged(upper, below)
    secrets.refuse(upper)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # it may be a symlink, which would lead out of the upper
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def stream(upper: Path) -> Iterator[members.Member]:
    """The members of the generated layer."""
    return build.members(upper, keep_owner=True, mtime=reproducible.EPOCH)


def _settle_shadow(path: Path) -> None:
    # The third field is the day of the last change (shadow(5)): the day of composing.
    if path.is_symlink() or not path.is_file():
        return
    day = str(reproducible.EPOCH // 86400).encode()
    lines = []
    for line in path.read_bytes().splitlines():
        fields = line.split(b":")
        if len(fields) > 2 and fields[2] not in (b"", b"0"):  # 0: to be changed at the next login
            fields[2] = day
        lines.append(b":".join(fields) + b"\n")
    path.write_bytes(b"".join(lines))


def _is_whiteout(path: Path) -> bool:
    """Whether overlayfs takes it for a whiteout (overlayfs.rst, "whiteouts and opaque")."""
    status = path.lstat()
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        return True
    attributes = os.listxattr(path, follow_symlinks=False)
    return stat.S_ISREG(status.st_mode) and "trusted.overlay.whiteout" in attributes


def _refuse_markers(upper: Path, allowed: Container[str]) -> None:
    """Whiteouts and opaque directories mean that a script took a package's file away."""
    for name in build.walk(upper):
        path = upper / name
        opaque = "trusted.overlay.opaque" in os.listxattr(path, follow_symlinks=False)
        if (opaque or _is_whiteout(path)) and f"/{name}" not in allowed:
            what = "made a package's directory anew" if opaque else "took away a package's file"
            text = f"a maintainer script {what}: /{name}"
            raise BootunionError("whiteout-found", text, subject=f"/{name}")
        for attribute in os.listxattr(path, follow_symlinks=False):
            # Overlayfs's own notes about where a copy came from; they mean nothing in a layer.
            if attribute.startswith("trusted.overlay.") and not attribute.endswith(".opaque"):
                os.removexattr(path, attribute, follow_symlinks=False)


def _drop_unchanged(upper: Path, below: Namespace) -> None:
    """Take out what was copied up and is still what the package has."""
    for name in sorted(build.walk(upper), reverse=True):
        path = upper / name
        found = below.paths.get(name)
        if found is None:
            continue
        entry = found[1]
        if path.is_dir() and not path.is_symlink():
            same = entry.type == contents.DIRECTORY and _same_metadata(path, entry)
            if same and not any(path.iterdir()):
                path.rmdir()
        elif _same_metadata(path, entry) and _same_content(path, entry):
            path.unlink()


def _same_metadata(path: Path, entry: Entry) -> bool:
    status = path.lstat()
    if (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
        return False
    xattrs = tuple(
        sorted(
            (key, os.getxattr(path, key, follow_symlinks=False).hex())
            for key in os.listxattr(path, follow_symlinks=False)
            if key != "security.selinux"
        )
    )
    mode_same = stat.S_IMODE(status.st_mode) == entry.mode or path.is_symlink()
    return mode_same and xattrs == entry.xattrs


def _same_content(path: Path, entry: Entry) -> bool:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return entry.type == contents.SYMLINK and str(path.readlink()) == entry.target
    if not stat.S_ISREG(status.st_mode) or entry.type != contents.FILE:
        return False
    return status.st_size == entry.size and packaging.digest(path) == entry.digest
