"""Clean Debian 12 roots to install into, and the small system that boots from what was made there.

A root is made once by mmdebstrap and kept in the cache by the digest of what it was asked for;
every test gets its own copy. Commands run in it by chroot, in mount and process namespaces of
their own, so that nothing is left mounted or running.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "qemu-tests"))

import machine
import scenario
import tiny

CACHE = scenario.CACHE / "packages"
BUILD = scenario.BUILD / "packages"
SUITE = "bookworm"
INCLUDE = ("e2fsprogs", "kmod", "systemd", "systemd-sysv", "udev", "zstd")
GENERATE = {
    "dracut": ["dracut", "--force", "--no-hostonly", "--add", "bootunion", "--drivers",
               scenario.DRIVERS, "--kver", "RELEASE", "/tmp/initrd.img"],
    "initramfs-tools": ["mkinitramfs", "-o", "/tmp/initrd.img", "RELEASE"],
}  # fmt: skip

# Namespaces end with the command, and everything that was mounted and started with them.
_ENTER = """
set -e
mount -t proc proc "$1/proc"; mount -t sysfs sys "$1/sys"
mount --rbind /dev "$1/dev"; mount -t tmpfs tmpfs "$1/run"
[ -z "$2" ] || mount --bind "$2" "$1/var/cache/apt/archives"
cp -L /etc/resolv.conf "$1/run/resolv.conf"
mount --bind "$1/run/resolv.conf" "$1/etc/resolv.conf"
root=$1; shift 2
exec chroot "$root" "$@"
"""


def _tarball() -> Path:
    words = ["--variant=minbase", f"--include={','.join(INCLUDE)}", SUITE]
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
    made = CACHE / f"root-{digest}.tar"
    if not made.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        aside = made.with_suffix(".new.tar")
        subprocess.run(["mmdebstrap", "--quiet", *words, aside], check=True)
        aside.rename(made)
    return made


class Root:
    """A Debian 12 in a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the root, with the network and nothing else of this machine."""
        archives = CACHE / "archives"
        (archives / "partial").mkdir(parents=True, exist_ok=True)
        inside = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root",
                  "DEBIAN_FRONTEND": "noninteractive", **(env or {})}  # fmt: skip
        for name, value in os.environ.items():
            if name.lower().endswith("_proxy"):
                inside[name] = value
        with (CACHE / "archives.lock").open("a") as turn:
            if (
                argv[0] == "apt-get"
            ):  # it does not wait for another checkout's, which has the same cache
                fcntl.flock(turn, fcntl.LOCK_EX)
            done = self._enter(archives, argv, inside)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def _enter(
        self, archives: Path, argv: Sequence[str], inside: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _ENTER, "sh",
             str(self.path), str(archives), *argv], env=inside,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def listing(self) -> dict[str, str]:
        """Each path with its mode and its content's digest; without what logs and caches hold."""
        skipped = ("proc", "sys", "dev", "run", "tmp", "var/cache", "var/log", "var/lib/apt")
        found = {}
        for directory, names, files in os.walk(self.path):
            inner = os.path.relpath(directory, self.path)
            if inner in skipped:
                names.clear()
                continue
            for name in [*names, *files]:
                path = Path(directory, name)
                status = path.lstat()
                text = f"{status.st_mode:o} {status.st_uid} {status.st_gid} "
                if path.is_symlink():
                    text += str(path.readlink())
                elif path.is_file():
                    text += hashlib.sha256(path.read_bytes()).hexdigest()
                found[os.path.relpath(path, self.path)] = text
        return found


@contextlib.contextmanager
def debian() -> Iterator[Root]:
    """A clean Debian 12 with the small system's kernel modules and its trust store."""
    small = tiny.make()
    tree, release = tiny.kernel_tree()
    with tempfile.TemporaryDirectory(prefix="bootunion-root-") as directory:
        root = Path(directory)
        subprocess.run(["tar", "-x", "-f", _tarball(), "-C", root, "--numeric-owner",
                        "--exclude=./dev/*"], check=True)  # fmt: skip
        shutil.copytree(tree / "lib/modules" / release, root / "usr/lib/modules" / release,
                        symlinks=True)  # fmt: skip
        shutil.copy(tree / f"boot/config-{release}", root / "boot")
        shutil.copytree(small.keys / "trust", root / "etc/bootunion/trust")
        yield Root(root)


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What came, went or changed."""
    return [
        f"{'+' if path not in before else '-' if path not in after else '~'} {path}"
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]


def make_image(root: Root, name: str, generator: str) -> Path:
    """An initramfs made by the root's own generator, kept in the build directory.

    The kernel and a disk with the store that it trusts lie beside it, for `boots`.
    """
    _, release = tiny.kernel_tree()
    root.run([word.replace("RELEASE", release) for word in GENERATE[generator]])
    BUILD.mkdir(parents=True, exist_ok=True)
    image = BUILD / f"{name}.img"
    shutil.move(root.path / "tmp/initrd.img", image)
    _keep_machine(image)
    return image


def _keep_machine(image: Path) -> None:
    small = tiny.make()
    machine.store_disk(small.store, image.with_suffix(".disk"))
    shutil.copy(small.kernel, image.with_suffix(".vmlinux"))


def boots(image: Path) -> str:
    """Boot the small list with an image; the console, once the root's init has said its words."""
    disk, kernel = image.with_suffix(".disk"), image.with_suffix(".vmlinux")
    cmdline = f"root=LABEL=pkgs bootunion={tiny.LIST} bootunion.on-failure=poweroff"
    log = image.with_suffix(".console")
    with machine.boot(kernel, image, cmdline, disk, log, memory=1024) as running:
        running.wait_for("BOOTED generation=2 extra=here", 600)
        status = running.end(120)
        assert status == machine.SUCCESS << 1 | 1, running.console[-3000:]
        return running.console
