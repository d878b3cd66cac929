"""A small machine with systemd, the helper's units and a store that invites to attack it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import roots
import scenario
import tiny

from bootunion.host import hooks
from bootunion.host.signing import Signer
from bootunion.host.store import Store

sys.path.insert(0, str(scenario.TOP / "tests"))
import helping
from helping import System

PACKAGES = ("systemd", "udev", "kmod", "python3", "python3-cryptography")
CMDLINE = "quiet loglevel=3 systemd.unit=helper-attacks.service systemd.show_status=no"
_BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4")
# systemd and udev load these on the machine, as on any other.
_MODULES = ("loop", "dm_mod", "dm_verity", "squashfs", "overlay", "autofs4", "configfs")

_INIT = """\
#!/bin/busybox sh
bb=/bin/busybox
$bb mount -t proc proc /proc; $bb mount -t sysfs sys /sys; $bb mount -t devtmpfs dev /dev
for module in $($bb cat /modules/order); do $bb insmod /modules/$module; done
$bb mount -t ext4 /dev/vda /sysroot
for place in proc sys dev; do $bb mount --move /$place /sysroot/$place; done
exec $bb switch_root /sysroot /usr/lib/systemd/systemd
"""

_UNIT = """\
[Unit]
Wants=basic.target
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -B /tests/helper_attacks.py
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
"""


class Attacked(NamedTuple):
    """What a boot needs."""

    kernel: Path
    initrd: Path
    disk: Path


def make(work: Path) -> Attacked:
    """Kernel, initramfs and disk; needs root and mmdebstrap."""
    modules_tree, release = tiny.kernel_tree()
    made = Attacked(work / "vmlinux", work / "initrd.img", work / "disk.img")
    made.kernel.write_bytes(tiny.unpacked(modules_tree / f"boot/vmlinuz-{release}"))
    tree = work / "tree"
    base = roots.make("bookworm", PACKAGES).directory
    subprocess.run(["cp", "-a", "--reflink=auto", base, tree], check=True)
    _system(tree, work)
    _install(tree)
    modules = tiny.modules(modules_tree, release, _MODULES)
    for file in modules:
        place = tree / "usr/lib/modules" / release / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    subprocess.run(["/usr/sbin/depmod", "-b", tree, release], check=True)
    _initrd(work / "initrd", modules_tree, release, made.initrd)
    _disk(tree, made.disk)
    return made


def _install(tree: Path) -> None:
    """bootunion and its units where a distribution's package puts them."""
    shutil.copytree(scenario.TOP / "bootunion", tree / "usr/lib/python3/dist-packages/bootunion",
                    ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    hooks.install(tree, hooks.collect(("systemd",), "/usr"), record=False)
    units = tree / "etc/systemd/system"
    (units / "sockets.target.wants").mkdir(parents=True, exist_ok=True)
    # As `systemctl enable` does.
    (units / "sockets.target.wants/bootunion-helper.socket").symlink_to(
        "/usr/lib/systemd/system/bootunion-helper.socket"
    )
    (units / "helper-attacks.service").write_text(_UNIT)
    (tree / "etc/machine-id").write_text("0" * 31 + "1\n")
    place = tree / "tests"
    place.mkdir(exist_ok=True)
    shutil.copy(scenario.TOP / "qemu-tests/guest/helper_attacks.py", place)
    shutil.copy(scenario.TOP / "tests/helper_client.py", place)


def _system(tree: Path, work: Path) -> None:
    """The store at /pkgs, the trust, and what others would like to be believed."""
    top = work / "system"
    top.mkdir()
    system = helping.make(top)
    stranger = Signer(top / "stranger/package.key")
    _odd(system)
    system.package("mine", "1", {"a": "a"}, stranger)
    system.package("lib", "9.0", {"usr/lib/lib.so": "evil\n"}, stranger)
    damaged = system.package("damaged", "1", {"a": "damaged\n"})
    scenario.flip(system.store.packages / damaged.file_name, 40)  # in the superblock
    system.add_list("forged", 1, system.packages["tool"], key="package")
    cache = system._replace(store=Store(tree / "home/somebody/.cache/bootunion").create())
    cache.package("private", "1", {"a": "secret\n"}, stranger)
    forms = tree / "tests/forms"
    forms.mkdir(parents=True)
    _forms(system, stranger, forms)
    shutil.copytree(system.store.path, tree / "pkgs")
    shutil.copytree(system.trust, tree / "etc/bootunion/trust")


def _odd(system: System) -> None:
    """A package that the system's key signed, with a setuid program and devices for everybody."""
    tree = system.top / "odd"
    tree.mkdir()
    shutil.copy("/usr/bin/id", tree / "whoami")
    (tree / "whoami").chmod(0o6755)
    for name, kind, number in (("null", stat.S_IFCHR, (1, 3)), ("disk", stat.S_IFBLK, (254, 0))):
        os.mknod(tree / name, kind | 0o666, os.makedev(*number))
        (tree / name).chmod(0o666)
    system.package_of("odd", "1", tree)


def _forms(system: System, stranger: Signer, forms: Path) -> None:
    """What is renamed over the package, the manifest and the list that are asked for."""
    packages = system.store.packages
    right = system.packages["tool"]
    evil = system.package("tool", "1", {"usr/bin/tool": "EVIL!!\n"}, stranger)
    assert (packages / evil.file_name).stat().st_size == right.image.size
    (packages / evil.file_name).rename(forms / "image-1-evil")
    (packages / f"{evil.stem}.json").rename(forms / "manifest-1-evil")
    (packages / f"{evil.stem}.contents").unlink()
    image = (packages / right.file_name).read_bytes()
    (forms / "image-2-short").write_bytes(image[:-4096])
    (forms / "image-3-empty").write_bytes(b"")
    lib = system.packages["lib=1.0"]
    shutil.copy(packages / f"{lib.stem}.json", forms / "manifest-2-another")
    (forms / "manifest-3-none").write_bytes(b"{")
    lists = system.store.lists
    shutil.copy(lists / "base/1.json", forms / "list-1-older")
    shutil.copy(lists / "forged/1.json", forms / "list-2-forged")
    (forms / "list-3-none").write_bytes(b"[]")


def _initrd(root: Path, tree: Path, release: str, target: Path) -> None:
    for name in ("proc", "sys", "dev", "sysroot", "bin", "modules"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", root / "bin/busybox")
    (root / "init").write_text(_INIT)
    (root / "init").chmod(0o755)
    order = tiny.modules(tree, release, _BOOT_MODULES)
    for file in order:
        shutil.copy(file, root / "modules")
    (root / "modules/order").write_text("".join(f"{file.name}\n" for file in order))
    tiny.archive(root, target)


def _disk(tree: Path, target: Path) -> None:
    with target.open("wb") as file:
        file.truncate(1 << 30)
    subprocess.run(["/usr/sbin/mkfs.ext4", "-q", "-d", tree, target], check=True)
