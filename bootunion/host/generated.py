"""Makes the generated layer of what maintainer scripts wrote into the upper.

What goes in has to be the same bytes on every machine and at every time, must hold no secret that
all machines would share, and no marker that would hide a package's file.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from bootunion import contents
from bootunion.contents import Entry
from bootunion.errors import BootunionError
from bootunion.merge import Namespace

from . import build, members, packaging, reproducible
from .privatekeys import holds_private_key

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
_OPAQUE = "trusted.overlay.opaque"

_SYSTEMD = "usr/lib/systemd/systemd"
_UPDATED = f"""\
# Made by bootunion when composing: what an updated /usr asks for at boot was done then.
# See man:systemd-update-done.service(8).
TIMESTAMP_NSEC={reproducible.EPOCH}000000000
"""

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


def clean(upper: Path, below: Namespace, allowed: Collection[str] = ()) -> tuple[str, ...]:
    """Take out of the upper what must not be in the generated layer.

    `below` is the merged namespace of the packages, `allowed` the paths (relative) that scripts may
    take away. Gives those of them that are overlay markers in the upper now. Raises BootunionError
    whiteout-found or secret-found; the upper is scratch and may be changed before that.
    """
    for pattern in (*_VOLATILE, *_SECRETS):
        for path in sorted(upper.glob(pattern)):
            if _is_whiteout(path):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
                if path.match("etc/ssh/ssh_host_*"):
                    _make_host_keys_at_boot(upper)
    if (upper / "etc").is_dir():
        _write(upper, "etc/machine-id", "", 0o444)
    _settle_shadow(upper / "etc/shadow")
    markers = _settle_markers(upper, below, allowed)
    _drop_unchanged(upper, below, markers)
    if _SYSTEMD in below.paths:
        _mark_updated(upper, below)
    _refuse_secrets(upper)
    return markers


def stream(upper: Path) -> Iterator[members.Member]:
    """The members of the generated layer."""
    return build.members(upper, keep_owner=True, mtime=reproducible.EPOCH)


def _write(upper: Path, name: str, text: str, mode: int = 0o644) -> None:
    """Write a file; neither it nor its new parents depend on the caller's umask."""
    path = upper / name
    for parent in reversed(Path(name).parents):
        if not (upper / parent).exists():
            (upper / parent).mkdir()
            (upper / parent).chmod(0o755)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _make_host_keys_at_boot(upper: Path) -> None:
    for name, text in _HOST_KEYS_FILES.items():
        _write(upper, name, text)


def _mark_updated(upper: Path, below: Namespace) -> None:
    """Tell systemd that /etc and /var fit /usr (ConditionNeedsUpdate=, systemd.unit(5)).

    It compares the times of the two files with /usr's. Everything in this layer has one time, so
    /usr must be in it.
    """
    for name in ("etc", "usr", "var"):
        path = upper / name
        if not path.exists():
            entry = below.paths[name][1]
            path.mkdir()
            os.chown(path, entry.uid, entry.gid)
            path.chmod(entry.mode)
    for name in ("etc/.updated", "var/.updated"):
        _write(upper, name, _UPDATED)


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


def _is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _settle_markers(upper: Path, below: Namespace, allowed: Collection[str]) -> tuple[str, ...]:
    """Keep the markers that hide something and may, refuse those that may not.

    Whiteouts and opaque directories mean that a script took a package's file away. Gives the paths
    of the markers that stay.
    """
    kept: list[str] = []
    for name in sorted(build.walk(upper)):
        path = upper / name
        hides = name in below.paths and not _inside(name, kept)
        attributes = os.listxattr(path, follow_symlinks=False)
        if _is_whiteout(path) or _OPAQUE in attributes:
            if hides and name not in allowed:
                text = f"a maintainer script took away /{name}, which a package holds"
                raise BootunionError("whiteout-found", text, subject=f"/{name}")
            if hides:
                kept.append(name)
            elif _is_whiteout(path):
                path.unlink()
                continue
        for attribute in attributes:
            # Overlayfs's own notes about where a copy came from; they mean nothing in a layer.
            if attribute.startswith("trusted.overlay.") and not (hides and attribute == _OPAQUE):
                os.removexattr(path, attribute, follow_symlinks=False)
    return tuple(kept)


def _inside(name: str, directories: Collection[str]) -> bool:
    return any(name.startswith(f"{directory}/") for directory in directories)


def _drop_unchanged(upper: Path, below: Namespace, markers: Collection[str]) -> None:
    """Take out what was copied up and is still what the package has."""
    for name in sorted(build.walk(upper), reverse=True):
        path = upper / name
        found = below.paths.get(name)
        # In an opaque directory nothing of the package's shows.
        if found is None or _inside(name, markers):
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
        if holds_private_key(path):
            text = f"/{name} holds a private key that every machine would share"
            raise BootunionError("secret-found", text, subject=f"/{name}")
