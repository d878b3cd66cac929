"""Makes the generated layer of what maintainer scripts wrote into the upper.

What goes in has to be the same bytes on every machine and at every time, must hold no secret that
all machines would share, and no marker that would hide a package's file.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from bootunion import contents
from bootunion.contents import Entry
from bootunion.errors import BootunionError
from bootunion.merge import Namespace

from . import build, members, packaging, reproducible

# What scripts leave that depends on time, order or inodes and that nothing needs; each is made
# again when it is missing.
_VOLATILE = (
    "etc/.pwd.lock",
    "etc/*-",  # backups of passwd, group, shadow …
    "var/cache/apt/*.bin",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig",  # inodes and times of libraries
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock*",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/ucf/*.[0-9]",
    "var/log/alternatives.log",
    "var/log/apt/*",
    "var/log/dpkg.log",
    "var/log/bootstrap.log",
)

# What must be each machine's own. An empty machine-id is filled in at boot (machine-id(5)).
_SECRETS = (
    "etc/ssh/ssh_host_*",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/credential.secret",
    "var/lib/systemd/random-seed",
)
# The line behind it tells a key from a program that knows the words.
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----\r?\n[A-Za-z0-9+/]")

_HOST_KEYS_UNIT = """\
[Unit]
Description=Make this machine's SSH host keys
Documentation=man:ssh-keygen(1)
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/ssh-keygen -A
"""
_HOST_KEYS_FILES = {
    "etc/systemd/system/bootunion-host-keys.service": _HOST_KEYS_UNIT,
    "etc/systemd/system/ssh.service.d/10-bootunion.conf": (
        "[Unit]\nWants=bootunion-host-keys.service\nAfter=bootunion-host-keys.service\n"
    ),
}


def clean(upper: Path, below: Namespace) -> None:
    """Take out of the upper what must not be in the generated layer.

    `below` is the merged namespace of the packages. Raises BootunionError whiteout-found or
    secret-found; the upper is scratch and may be changed before that.
    """
    for pattern in (*_VOLATILE, *_SECRETS):
        for path in sorted(upper.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
                if path.match("etc/ssh/ssh_host_*"):
                    _make_host_keys_at_boot(upper)
    if (upper / "etc").is_dir():
        (upper / "etc/machine-id").write_bytes(b"")
        (upper / "etc/machine-id").chmod(0o444)
    _settle_shadow(upper / "etc/shadow")
    _refuse_markers(upper)
    _drop_unchanged(upper, below)
    _refuse_secrets(upper)


def stream(upper: Path) -> Iterator[members.Member]:
    """The members of the generated layer."""
    return build.members(upper, keep_owner=True, mtime=reproducible.EPOCH)


def _make_host_keys_at_boot(upper: Path) -> None:
    for name, text in _HOST_KEYS_FILES.items():
        path = upper / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)


def _settle_shadow(path: Path) -> None:
    # The third field is the day of the last change (shadow(5)): the day of composing.
    if not path.exists():
        return
    day = str(reproducible.EPOCH // 86400)
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2]:
            fields[2] = day
        lines.append(":".join(fields) + "\n")
    path.write_text("".join(lines), encoding="utf-8")


def _refuse_markers(upper: Path) -> None:
    """Whiteouts and opaque directories mean that a script took a package's file away."""
    for name in build.walk(upper):
        path = upper / name
        status = path.lstat()
        whiteout = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
        attributes = os.listxattr(path, follow_symlinks=False)
        if whiteout or "trusted.overlay.opaque" in attributes:
            text = f"a maintainer script took away /{name}, which a package holds"
            raise BootunionError("whiteout-found", text, subject=f"/{name}")
        for attribute in attributes:
            # Overlayfs's own notes about where a copy came from; they mean nothing in a layer.
            if attribute.startswith("trusted.overlay."):
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
        return entry.type == contents.SYMLINK and os.readlink(path) == entry.target
    if not stat.S_ISREG(status.st_mode) or entry.type != contents.FILE:
        return False
    return status.st_size == entry.size and packaging.digest(path) == entry.digest


def _refuse_secrets(upper: Path) -> None:
    for name in build.walk(upper):
        path = upper / name
        if path.is_symlink() or not path.is_file():
            continue
        # Keys are small files; reading the first part of each finds them.
        with path.open("rb") as file:
            if _PRIVATE_KEY.search(file.read(1 << 16)):
                text = f"/{name} holds a private key that every machine would share"
                raise BootunionError("secret-found", text, subject=f"/{name}")
