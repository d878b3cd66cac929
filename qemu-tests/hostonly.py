"""A hostonly image made where it belongs: on a machine that runs from a list.

A chroot of this host has another machine's devices and no /proc/modules. So here Debian with dracut
is itself the root of a list; it boots, a unit of it runs dracut as a person would, and the image
comes out on a disk of its own.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import generators
import machine
import roots
import scenario
import tiny
from tiny import Tiny

from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.systemlist import Layer, SystemList

LIST = "builder"
CMDLINE = f"root=LABEL=pkgs bootunion={LIST}"
_OUTPUT_SIZE = 256 << 20
_SECTOR = 512
_UNIT = """\
[Unit]
Description=makes a hostonly image
[Service]
Type=oneshot
ExecStart=/usr/lib/hostonly/make
"""
# The size on the first sector, the image behind it. bootunion is not asked for: check() must see
# that this machine runs from a list.
_MAKE = f"""\
#!/bin/bash
exec > /dev/console 2>&1
set -eu
dmesg -n 1
echo "MAKING root=$(findmnt -no FSTYPE /) loaded=$(wc -l < /proc/modules)"
echo "CMDLINE$(dracut --hostonly --print-cmdline 2> /dev/null)"
dracut --force --hostonly --nostrip --compress 'zstd -q -1' /run/initrd.img "$(uname -r)"
size=$(stat -c %s /run/initrd.img)
printf '%-{_SECTOR}s' "$size" | cat - /run/initrd.img \\
    | dd of=/dev/disk/by-id/virtio-output bs=1M iflag=fullblock conv=notrunc status=none
sync
echo "MADE $size"
printf '\\{machine.SUCCESS:03o}' \\
    | dd of=/dev/port bs=1 seek={machine.EXIT_PORT} conv=notrunc status=none
"""


class Builder(NamedTuple):
    """A machine that makes an image: its kernel, initramfs and the disk with its store."""

    name: str
    kernel: Path
    initrd: Path
    disk: Path


class Made(NamedTuple):
    """An image, and how many kernel modules its machine had loaded."""

    image: Path
    loaded: int


def builder(good: Tiny, suite: str, work: Path, kernel: tuple[Path, str]) -> Builder:
    """A machine of `suite` that runs from a list; its own image is a generic one of its dracut."""
    tree, release = kernel
    initrd = generators.make(good, roots.make(suite), "dracut generic systemd", work, kernel)
    on = machine.store_disk(_store(good, suite, work, kernel), work / "builder.img")
    return Builder(suite, tree / f"boot/vmlinuz-{release}", initrd, on)


def make(by: Builder, work: Path, qemu: machine.Qemu = machine.QEMU) -> Made:
    """Boot a builder; the image that it makes, bootunion in it unasked."""
    output = work / "output.img"
    with output.open("wb") as file:
        file.truncate(_OUTPUT_SIZE)
    more = ("-drive", f"file={output},if=none,id=output,format=raw",
            "-device", "virtio-blk-pci,drive=output,serial=output")  # fmt: skip
    log = scenario.BUILD / f"{by.name}-hostonly-make.console"
    with machine.boot(by.kernel, by.initrd, CMDLINE, by.disk, log, qemu=qemu, more=more) as running:
        found = running.wait_for(r"MAKING root=overlay loaded=(\d+)", 400)
        running.wait_for(f"CMDLINE {CMDLINE}", 600)
        running.wait_for(r"^MADE \d+", 1800)
        status = running.end(60)
        said = running.console
    assert status == machine.SUCCESS << 1 | 1, said[-2000:]
    assert "Including module: bootunion" in said
    data = output.read_bytes()
    size = int(data[:_SECTOR])
    image = work / "hostonly.img"
    image.write_bytes(data[_SECTOR : _SECTOR + size])
    return Made(image, int(found.group(1)))


def _store(good: Tiny, suite: str, work: Path, kernel: tuple[Path, str]) -> Path:
    """A store with one list: what makes the image, over the suite's Debian."""
    tree, release = kernel
    laid = roots.lay_out(work / "builder", good.keys / "trust")
    shutil.copytree(tree / "boot", laid / "boot", ignore=shutil.ignore_patterns("vmlinuz*"))
    place = next(one for one in (tree / "usr/lib/modules", tree / "lib/modules")
                 if (one / release).is_dir())  # fmt: skip
    shutil.copytree(place / release, laid / "usr/lib/modules" / release, symlinks=True)
    (laid / "pkgs").mkdir()
    maker = laid / "usr/lib/hostonly/make"
    maker.parent.mkdir()
    maker.write_text(_MAKE)
    maker.chmod(0o755)
    units = laid / "usr/lib/systemd/system"
    (units / "multi-user.target.wants").mkdir(parents=True)
    (units / "hostonly.service").write_text(_UNIT)
    (units / "multi-user.target.wants/hostonly.service").symlink_to("../hostonly.service")
    (laid / "usr/sbin").mkdir()
    (laid / "usr/sbin/init").symlink_to("../lib/systemd/systemd")
    store = Store(work / "builder-store").create()
    signer = Signer(good.keys / "package.key")
    layers = tuple(
        Layer(
            name,
            "1",
            "amd64",
            tiny.signed_package(store, signer, name, directory).image,
            "required",
        )
        for name, directory in (("maker", laid), (suite, roots.make(suite).directory))
    )
    system = SystemList(LIST, 1, 1, 1_700_000_000, "amd64", release, layers, "volatile", "0" * 64)
    tiny.write_list(good, store.path, system)
    return store.path


def kernel_modules(root: roots.Root, image: Path, work: Path) -> set[str]:
    """The names of the kernel modules in an image, as the suite's own dracut lists them."""
    tree = work / "listing"
    tree.mkdir()
    shutil.copy(image, tree / "image")
    kernel, release = tiny.kernel_tree()
    script = "lsinitrd /image > /out/files"
    roots.run(root, tree, kernel / "lib/modules" / release, script, work / "listed")
    names = re.findall(r"/([^/\s]+)\.ko(?:\.\w+)?$", (work / "listed/files").read_text(), re.M)
    return set(names)
