"""Debian roots of their own, in which initramfs generators run, and what runs in them.

A root is made once and kept in the cache by the digest of what it is made from. Work happens in an
overlay of it, in a mount namespace that goes away: the root itself never changes.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import machine
import scenario
import tiny

MIRROR = "http://deb.debian.org/debian"
PACKAGES = ("dracut-core", "systemd", "udev", "initramfs-tools-core", "busybox-static", "kmod",
            "python3", "python3-cryptography", "python3-pyudev", "cryptsetup-bin", "lvm2",
            "btrfs-progs", "dmsetup", "zstd", "e2fsprogs", "cpio", "libarchive-tools",
            "util-linux", "procps", "gawk")  # fmt: skip
# Split off after Debian 12.
_ALSO = {"trixie": ("systemd-cryptsetup",), "sid": ("systemd-cryptsetup", "util-linux-extra")}
_NOT_NEEDED = ("man", "doc", "locale")


class Root(NamedTuple):
    """A root directory; `name` is Debian's suite, or "host" for this machine's own."""

    name: str
    directory: Path

    def versions(self, *packages: str) -> str:
        """The installed versions, for the record."""
        said = subprocess.run(
            ["dpkg-query", f"--admindir={self.directory}/var/lib/dpkg", "-W",
             "-f", "${Package} ${Version}\n", *packages],
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
        return ", ".join(said.split("\n")[:-1])


HOST = Root("host", Path("/"))


def make(suite: str, packages: tuple[str, ...] = PACKAGES) -> Root:
    """A root of `suite` (bookworm, trixie, sid); needs root and mmdebstrap."""
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase",
            "--include=" + ",".join(packages + _ALSO.get(suite, ())),
            # A frozen mirror's index says that it has expired.
            '--aptopt=Acquire::Check-Valid-Until "false"',
            *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _NOT_NEEDED),
            suite]  # fmt: skip
    digest = hashlib.sha256("\n".join([*argv, MIRROR]).encode()).hexdigest()[:16]
    root = Root(suite, scenario.CACHE / f"root-{suite}-{digest}")
    if not root.directory.exists():
        aside = root.directory.with_suffix(".new")
        shutil.rmtree(aside, ignore_errors=True)
        subprocess.run([*argv, str(aside), MIRROR], check=True, capture_output=True)
        aside.rename(root.directory)
    return root


def kernel(suite: str) -> tuple[Path, str]:
    """A suite's newest stock kernel, unpacked with its modules indexed, and its release."""
    if suite == "bookworm":
        return tiny.kernel_tree()
    name = (scenario.CACHE / f"kernel-{suite}").resolve()
    if not (name / "complete").exists():
        shutil.rmtree(name, ignore_errors=True)
        name.mkdir(parents=True)
        # apt's own state is the root's, so that nothing of this machine's is changed.
        subprocess.run(["mmdebstrap", "--mode=root", "--variant=extract", "--quiet",
                        "--include=linux-image-amd64",
                        '--aptopt=Acquire::Check-Valid-Until "false"', suite, name, MIRROR],
                       check=True)  # fmt: skip
        if not (name / "lib").exists():  # newer packages only know /usr
            (name / "lib").symlink_to("usr/lib")
        release = next((name / "lib/modules").iterdir()).name
        subprocess.run(["/usr/sbin/depmod", "-b", name, release], check=True)
        (name / "boot").mkdir(exist_ok=True)
        for part in ("vmlinuz", "config"):  # the newest have these beside their modules
            place = name / "lib/modules" / release / part
            if place.exists():
                shutil.copy(place, name / f"boot/{part}-{release}")
        (name / "complete").touch()
    release = next((name / "lib/modules").iterdir()).name
    return name, release


def newer_qemu() -> machine.Qemu:
    """Debian 13's QEMU, started by its own loader from a directory of its own."""
    place = scenario.CACHE / "qemu-trixie"
    libraries = place / "usr/lib/x86_64-linux-gnu"
    if not (libraries / "qemu").exists():
        subprocess.run(["mmdebstrap", "--mode=root", "--variant=extract", "--quiet",
                        "--include=qemu-system-x86,seabios,ipxe-qemu",
                        '--aptopt=Acquire::Check-Valid-Until "false"', "trixie", place, MIRROR],
                       check=True)  # fmt: skip
    argv = ("env", f"QEMU_MODULE_DIR={libraries}/qemu", f"{libraries}/ld-linux-x86-64.so.2",
            "--library-path", str(libraries), f"{place}/usr/bin/qemu-system-x86_64",
            "-L", f"{place}/usr/share/qemu", "-L", f"{place}/usr/share/seabios")  # fmt: skip
    return machine.Qemu(argv, "QEMU of Debian 13")


# $1 the root, $2 a directory for mounts, $3 the tree to lay over the root, $4 the script, $5 where
# what the script leaves in /out goes, $6 a kernel's modules, $7 its release. The upper directory is
# a tmpfs: it must not lie in $1.
_IN_OVERLAY = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
cp -a "$3/." "$2/upper"
mkdir -p "$2/upper/out"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
for name in proc sys dev; do mkdir -p "$2/root/$name"; mount --rbind /$name "$2/root/$name"; done
mkdir -p "$2/root/usr/lib/modules/$7"
mount --bind "$6" "$2/root/usr/lib/modules/$7"
mount -t tmpfs tmpfs "$2/root/run"
mount -t tmpfs tmpfs "$2/root/tmp"
chroot "$2/root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    bash -euc "$4"
cp -a "$2/upper/out/." "$5"
"""


def run(root: Root, tree: Path, modules: Path, script: str, out: Path) -> str:
    """Run a bash script in a copy of `root` with `tree` over it; what it said.

    `modules` is a directory lib/modules/RELEASE. The files that the script leaves in /out land in
    `out`. Raises CalledProcessError; its output says why.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as mounts:
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", _IN_OVERLAY, "sh", root.directory, mounts, tree,
             script, out, modules, modules.name],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        print(done.stdout)
        raise subprocess.CalledProcessError(done.returncode, "in " + root.name, done.stdout)
    return done.stdout


def lay_out(target: Path, trust: Path) -> Path:
    """bootunion as packages would install it, and the trust store."""
    shutil.rmtree(target, ignore_errors=True)
    top = scenario.TOP
    python = target / "usr/lib/python3/dist-packages/bootunion"
    skipped = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(top / "bootunion", python, ignore=skipped)
    shutil.copytree(top / "dracut-module", target / "usr/lib/dracut/modules.d")
    for name in ("install", "hooks"):
        shutil.copytree(top / "mkinitcpio-hook" / name, target / "usr/lib/initcpio" / name)
    (target / "usr/lib/bootunion").mkdir()
    shutil.copy(top / "mkinitcpio-hook/functions",
                target / "usr/lib/bootunion/mkinitcpio-functions")  # fmt: skip
    shutil.copytree(top / "initramfs-tools", target / "usr/share/initramfs-tools")
    shutil.copytree(trust, target / "etc/bootunion/trust")
    shutil.copytree(Path(__file__).parent / "mkinitcpio", target / "usr/lib/mkinitcpio-double")
    return target
