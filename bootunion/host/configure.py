"""Runs the packages' maintainer scripts once, over the union, with dpkg itself.

The union has every package's files and dpkg record (see `deb`); here dpkg's database is joined
from them and the packages go from `unpacked` to `installed` as on any Debian.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from . import deb, reproducible
from .sandbox import Sandbox

_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_MOUNT_POINTS = {"dev": 0o755, "pkgs": 0o755, "proc": 0o555, "run": 0o755, "sys": 0o555,
                 "tmp": 0o1777}  # fmt: skip
# dpkg would have run base-passwd's first, because everything pre-depends on it in effect: it
# makes /etc/passwd.
_FIRST = "base-passwd"

_ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "DPKG_ROOT": "",
    "DPKG_ADMINDIR": "/var/lib/dpkg",
    # shadow, systemd-sysusers and others take the day's date from it.
    "SOURCE_DATE_EPOCH": str(reproducible.EPOCH),
    # The hooks of dracut and initramfs-tools then leave the initramfs alone: it has to hold the
    # trust store and is made from the finished list.
    "INITRD": "No",
    "SYSTEMD_OFFLINE": "1",
    "PYTHONHASHSEED": "0",
}


def sandbox(root: Path) -> Sandbox:
    """The sandbox that scripts run in."""
    return Sandbox(root, _ENVIRONMENT)


def configure(
    box: Sandbox, commands: Iterable[str], architecture: str, progress: Callable[[str], None]
) -> None:
    """Configure every package of the union at `box.root`, then run `commands`.

    Raises BootunionError program-failed with the failing script's last words.
    """
    root = box.root
    make_skeleton(root)
    box.prepare()
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")  # services are not started
    policy.chmod(0o755)
    box.bind(str(root / "usr/bin/true"), "/usr/sbin/start-stop-daemon")
    records = join_database(root, architecture)
    for record in sorted(records, key=lambda name: (name != _FIRST, name)):
        _preinst(box, record)
    progress("configuring")
    box.run(["dpkg", "--configure", "--pending", "--force-confold"], what="configuring")
    _run_triggers(box)
    for command in commands:
        box.run(["/bin/sh", "-ec", command], what=f"running {command.split()[0]}")
    policy.unlink()


def make_skeleton(root: Path) -> None:
    """What debootstrap makes before any package: the merge's symlinks and mount points."""
    for name in _MERGED:
        if not (root / name).is_symlink():
            (root / "usr" / name).mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(f"usr/{name}")
    for name, mode in _MOUNT_POINTS.items():
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(mode)


def join_database(root: Path, architecture: str) -> list[str]:
    """Make dpkg's status file and trigger index of the packages' records; gives their names."""
    admin = root / deb.ADMIN
    parts = sorted((root / deb.STATUS_PARTS).iterdir())
    status = "\n".join(part.read_text(errors="surrogateescape") for part in parts)
    (admin / "status").write_text(status, errors="surrogateescape")
    (admin / "available").touch()
    (admin / "arch").write_text(f"{architecture}\n")
    (admin / "info/format").write_text("1\n")
    for name in ("updates", "triggers", "parts", "alternatives"):
        (admin / name).mkdir(exist_ok=True)
    for name in ("diversions", "statoverride"):
        (admin / name).touch()
    for name, lines in _interests(admin).items():
        (admin / "triggers" / name).write_text("".join(f"{line}\n" for line in sorted(lines)))
    (admin / "triggers/Unincorp").touch()
    return [part.name for part in parts]


def _interests(admin: Path) -> dict[str, set[str]]:
    """Who waits for which trigger: the files of /var/lib/dpkg/triggers (dpkg's triggers.txt)."""
    found: dict[str, set[str]] = {"File": set()}
    for path in sorted((admin / "info").glob("*.triggers")):
        record = path.name.removesuffix(".triggers")
        for line in path.read_text().splitlines():
            words = line.split()
            if not words or not words[0].startswith("interest"):
                continue
            who = record + ("/noawait" if words[0] == "interest-noawait" else "")
            if words[1].startswith("/"):
                found["File"].add(f"{words[1]} {who}")
            else:
                found.setdefault(words[1], set()).add(who)
    return found


def _preinst(box: Sandbox, record: str) -> None:
    script = f"/{deb.ADMIN}/info/{record}.preinst"
    if (box.root / script.lstrip("/")).exists():
        name, _, architecture = record.partition(":")
        box.run([script, "install"], what=f"running the preinst of {record}",
                DPKG_MAINTSCRIPT_NAME="preinst", DPKG_MAINTSCRIPT_PACKAGE=name,
                DPKG_MAINTSCRIPT_ARCH=architecture, DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT="1",
                DPKG_RUNNING_VERSION="1.21.22")  # fmt: skip


def _run_triggers(box: Sandbox) -> None:
    # Nothing was unpacked, so no file trigger fired: fire each that somebody waits for.
    triggers = box.root / deb.ADMIN / "triggers"
    names = {line.split()[0] for line in (triggers / "File").read_text().splitlines()}
    names |= {path.name for path in triggers.iterdir() if path.name[0].islower()}
    for name in sorted(names):
        box.run(["dpkg-trigger", "--no-await", "--by-package=dpkg", name], what=f"firing {name}")
    box.run(["dpkg", "--triggers-only", "--pending"], what="running triggers")
