"""Runs the packages' maintainer scripts once, over the union, with dpkg itself.

The union has every package's files and dpkg record (see `deb`); here dpkg's database is joined
from them and the packages go from `unpacked` to `installed` as on any Debian.

One thing differs from dpkg: a `preinst` runs when all files are there already, not before its own
package's are. On an empty system a preinst has nothing old to take care of; of the demo's 26 two
do anything (base-passwd's makes /etc/passwd, python3.11-minimal's and the kernel's leave a flag for
their postinst). One that moves another package's file away leaves a whiteout, which is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from bootunion.errors import BootunionError

from . import deb, dpkgdb, mergedusr, reproducible
from .dpkgdb import Database
from .sandbox import Sandbox, fixed_umask

# base-files brings most of them in modes that suit a directory; these suit what is mounted there.
_MOUNT_POINTS = {"dev": 0o755, "pkgs": 0o755, "proc": 0o555, "run": 0o755, "sys": 0o555,
                 "tmp": 0o1777}  # fmt: skip
# Makes /etc/passwd, which all others expect; it depends on libc only.
_FIRST = "base-passwd"
_POLICY = "#!/bin/sh\nexit 101\n"  # action forbidden (invoke-rc.d, policy-rc.d interface)

_ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    # shadow, systemd-sysusers and others take the day's date from it; it also makes Python write
    # byte code that is checked by the source's hash instead of its time.
    "SOURCE_DATE_EPOCH": str(reproducible.EPOCH),
    # The hooks of dracut and initramfs-tools then leave the initramfs alone: it has to hold the
    # trust store and is made from the finished list.
    "INITRD": "No",
    "SYSTEMD_OFFLINE": "1",
    "PYTHONHASHSEED": "0",
}


def sandbox(root: Path) -> Sandbox:
    """The sandbox that scripts run in; a test adds to its environment and its binds."""
    return Sandbox(root, _ENVIRONMENT)


def configure(
    box: Sandbox, commands: Iterable[str], architecture: str, progress: Callable[[str], None]
) -> None:
    """Configure every package of the union at `box.root`, then run `commands`.

    The union is mounted and writable; call it in namespaces of its own (mount, UTS, IPC, network).
    Raises BootunionError program-failed with the failing script's last words.
    """
    root = box.root
    with fixed_umask():
        make_skeleton(root)
        box.prepare()
        database = dpkgdb.join(root, architecture)
        remove_policy = _forbid_services(box)
    if database.stanzas:
        _packages(box, database, progress)
    for command in commands:
        progress(f"running {command.split()[0]}")
        box.run(["/bin/sh", "-ec", command], what=f"running `{command}`")
    remove_policy()


def make_skeleton(root: Path) -> None:
    """What debootstrap makes before any package: the merge's symlinks and mount points."""
    for name in mergedusr.TOP:
        if (root / "usr" / name).is_dir() and not (root / name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    for name, mode in _MOUNT_POINTS.items():
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(mode)


def _forbid_services(box: Sandbox) -> Callable[[], None]:
    """Let no script start a service; gives what takes the prohibition out of the upper again."""
    script = box.root / "run/bootunion-policy-rc.d"
    script.write_text(_POLICY, encoding="utf-8")
    script.chmod(0o755)
    policy = box.root / "usr/sbin/policy-rc.d"
    missing = not policy.exists()
    if missing:
        policy.parent.mkdir(parents=True, exist_ok=True)
        policy.symlink_to("/run/bootunion-policy-rc.d")
    else:
        box.bind(str(script), "/usr/sbin/policy-rc.d")
    # Scripts that do not ask start daemons through it; a bind mount leaves nothing in the upper.
    if (box.root / "usr/sbin/start-stop-daemon").exists():
        box.bind(str(box.root / "usr/bin/true"), "/usr/sbin/start-stop-daemon")
    return policy.unlink if missing else lambda: None


def _packages(box: Sandbox, database: Database, progress: Callable[[str], None]) -> None:
    minimal = database.minimal()
    first = database.closure(record for record in database.stanzas if record == _FIRST)
    rest = [record for record in database.stanzas if record not in minimal]
    progress("preparing")
    for record in dict.fromkeys([*first, *minimal, *rest]):
        _preinst(box, database, record)
    # As debootstrap does: what every script may use is configured before any other package.
    for records in (first, minimal):
        if records:
            progress(f"configuring {len(records)} essential packages")
            _dpkg(box, "--configure", *(one for one in records))
    progress(f"configuring {len(rest)} packages")
    _dpkg(box, "--configure", "--pending")
    progress("running triggers")
    _run_triggers(box, database)
    _users(box)
    left = dpkgdb.unfinished(box.root)
    if left:
        raise BootunionError("program-failed", f"dpkg left {left[0]} behind", subject="dpkg")


def _dpkg(box: Sandbox, *words: str) -> None:
    # confold: nobody changed a configuration file, so there is nothing to ask.
    box.run(["dpkg", "--force-confold", *words], what="configuring the packages")


def _preinst(box: Sandbox, database: Database, record: str) -> None:
    script = f"/{deb.ADMIN}/info/{record}.preinst"
    if (box.root / script.lstrip("/")).exists():
        fields = database.stanzas[record]
        # dpkg(1), "Environment": what dpkg sets for every maintainer script.
        box.run([script, "install"], what=f"running the preinst of {fields['Package']}",
                DPKG_MAINTSCRIPT_NAME="preinst", DPKG_MAINTSCRIPT_PACKAGE=fields["Package"],
                DPKG_MAINTSCRIPT_ARCH=fields["Architecture"], DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT="1",
                DPKG_MAINTSCRIPT_DEBUG="0", DPKG_ROOT="", DPKG_ADMINDIR=f"/{deb.ADMIN}",
                DPKG_RUNNING_VERSION=database.version("dpkg"))  # fmt: skip


def _run_triggers(box: Sandbox, database: Database) -> None:
    # Nothing was unpacked, so what unpacking activates was not. A postinst does the same work
    # (deb-triggers(5)), but for its own moment: packages configured after it may have added to it.
    for name in database.triggers:
        box.run(["dpkg-trigger", "--no-await", "--by-package=dpkg", name], what=f"firing {name}")
    _dpkg(box, "--triggers-only", "--pending")


def _users(box: Sandbox) -> None:
    # A booting machine would make the users of sysusers.d; the generated layer tells it that this
    # is done (see `generated`), so that the users of packages without a postinst are pinned, too.
    if (box.root / "usr/bin/systemd-sysusers").exists():
        box.run(["systemd-sysusers"], what="making the users of sysusers.d")
