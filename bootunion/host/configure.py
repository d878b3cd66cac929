"""Runs the packages' maintainer scripts once, over the union, with dpkg itself.

The union has every package's files and dpkg record (see `deb`); here dpkg's database is joined
from them and the packages go from `unpacked` to `installed` as on any Debian.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bootunion.merge import MERGED_USR

from . import deb, reproducible
from .sandbox import Sandbox

_SYSUSERS = "/usr/bin/systemd-sysusers"
_SETTING_UP = "Setting up "

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


class Progress(NamedTuple):
    """How long work tells where it is: `stage` begins one of `total` steps, `step` ends a step."""

    stage: Callable[[str, int], None]
    step: Callable[[str], None]


def configure(box: Sandbox, commands: Sequence[str], architecture: str, progress: Progress) -> None:
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
    _run_preinsts(box, records, progress)
    _run_postinsts(box, len(records), progress)
    _run_triggers(box, progress)
    if (root / _SYSUSERS.lstrip("/")).exists():
        # What would run at the first boot of an updated /usr (see `generated`): dpkg's triggers
        # did the rest, but nobody waits for another package's sysusers.d.
        box.run([_SYSUSERS], what="making the system users")
    if commands:
        progress.stage("running the commands", len(commands))
    for command in commands:
        name = command.split()[0]
        box.run(["/bin/sh", "-ec", command], what=f"running {name}")
        progress.step(name)
    policy.unlink()


def make_skeleton(root: Path) -> None:
    """What debootstrap makes before any package: the merge's symlinks and mount points."""
    for name in MERGED_USR:
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


def _run_preinsts(box: Sandbox, records: Sequence[str], progress: Progress) -> None:
    found = [
        (record, f"/{deb.ADMIN}/info/{record}.preinst")
        for record in sorted(records, key=lambda name: (name != _FIRST, name))
    ]
    found = [(record, script) for record, script in found if (box.root / script[1:]).exists()]
    progress.stage("running the preinst scripts", len(found))
    for record, script in found:
        name, _, architecture = record.partition(":")
        box.run([script, "install"], what=f"running the preinst of {record}",
                DPKG_MAINTSCRIPT_NAME="preinst", DPKG_MAINTSCRIPT_PACKAGE=name,
                DPKG_MAINTSCRIPT_ARCH=architecture, DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT="1",
                DPKG_RUNNING_VERSION="1.21.22")  # fmt: skip
        progress.step(name)


def _run_postinsts(box: Sandbox, count: int, progress: Progress) -> None:
    progress.stage("configuring the packages", count)

    def heard(line: str) -> None:
        if line.startswith(_SETTING_UP):
            progress.step(line.removeprefix(_SETTING_UP).split()[0].partition(":")[0])

    # At the first failing script, so that its words are the last.
    argv = ["dpkg", "--configure", "--pending", "--force-confold", "--abort-after=1"]
    box.run(argv, what="configuring the packages", heard=heard)


def _run_triggers(box: Sandbox, progress: Progress) -> None:
    # Nothing was unpacked, so no file trigger fired: fire each that somebody waits for.
    triggers = box.root / deb.ADMIN / "triggers"
    names = {line.split()[0] for line in (triggers / "File").read_text().splitlines()}
    names |= {path.name for path in triggers.iterdir() if path.name[0].islower()}
    progress.stage("running the triggers", len(names))
    for name in sorted(names):
        box.run(["dpkg-trigger", "--no-await", "--by-package=dpkg", name], what=f"firing {name}")
        progress.step(name)
    box.run(["dpkg", "--triggers-only", "--pending"], what="running the triggers")
