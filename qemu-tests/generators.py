"""The initramfs generators: how each makes an image for a list, and how its boots must end."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import hostile
import machine
import roots
import scenario
import stores
import tiny
from roots import Root
from tiny import Tiny

CMDLINE = f"root=LABEL=pkgs bootunion={tiny.LIST}"
STOP = "bootunion.on-failure=poweroff"
# What a boot that was refused must never say: each is a root, a switch or somebody's prompt.
NEVER = ("BOOTED", "EVIL ROOT RUNS", "emergency mode", "emergency shell", "Press Enter",
         "(initramfs)", "rootfs #", "sh-5", "Give root password", "login:")  # fmt: skip
# Compressed quickly: these images are booted once.
_VIRTIO = "virtio_pci virtio_blk virtio_rng"
_DRACUT = f"dracut --force --compress 'zstd -q -1' --kver $KVER --add-drivers '{_VIRTIO}'"
_QUICK = "echo COMPRESSLEVEL=1 > /etc/initramfs-tools/conf.d/quick"
_SOURCES = "bootunion crypt lvm dm btrfs"
# The build's own root is an overlay: its mount options are not to be kept in the image.
_HOSTONLY = "--hostonly --no-hostonly-cmdline"
_PLAIN = "--omit 'systemd systemd-initrd dracut-systemd systemd-udevd'"
# A machine that runs from a list has this file, and so gets the module unasked.
_FROM_A_LIST = "mkdir -p /run/bootunion; echo '{}' > /run/bootunion/boot.json;"
# The real one (scripts/mkinitcpio.sh). It wants units and programs that Debian does not have, says
# so and ends with 1, having written the image.
_REAL = f"""for one in sulogin swapon swapoff modprobe switch_root blkid; do
    cp -L /usr/sbin/$one /usr/bin/$one  # Arch has one directory for both
done
config=/etc/mkinitcpio.conf
printf 'MODULES=({_VIRTIO} ext4)\nHOOKS=(%s)\n' "$HOOKS" > $config
mkinitcpio -v -k $KVER -g /out/initrd.img || [ $? = 1 ]"""
_DOUBLE = "/usr/lib/mkinitcpio-double/mkinitcpio -k $KVER -g /out/initrd.img -H"
SCRIPTS: Mapping[str, str] = {
    "dracut generic systemd": f"{_DRACUT} --no-hostonly --add bootunion /out/initrd.img",
    "dracut generic plain": f"{_DRACUT} --no-hostonly --add bootunion {_PLAIN} /out/initrd.img",
    "dracut hostonly systemd": f"{_FROM_A_LIST} {_DRACUT} {_HOSTONLY} /out/initrd.img",
    "dracut hostonly plain": f"{_FROM_A_LIST} {_DRACUT} {_HOSTONLY} {_PLAIN} /out/initrd.img",
    "dracut sources": f"{_DRACUT} --no-hostonly --add '{_SOURCES}' /out/initrd.img",
    "initramfs-tools": f"{_QUICK}; mkinitramfs -o /out/initrd.img $KVER",
    "mkinitcpio busybox": f"HOOKS='base udev bootunion'\n{_REAL}",
    "mkinitcpio systemd": f"HOOKS='systemd sd-bootunion'\n{_REAL}",
    "mkinitcpio double busybox": f"{_DOUBLE} base,udev,bootunion",
    "mkinitcpio double systemd": f"{_DOUBLE} systemd,sd-bootunion",
}


class Booted(NamedTuple):
    """A boot that came up: the console, and how the layers reached overlayfs."""

    console: str
    layers_by: str
    kernel: str


def make(
    good: Tiny, root: Root, name: str, work: Path, kernel: tuple[Path, str] | None = None
) -> Path:
    """The image that a generator makes in a root, for Debian 12's kernel unless said."""
    tree, release = kernel or tiny.kernel_tree()
    modules = next(place / release for place in (tree / "usr/lib/modules", tree / "lib/modules")
                   if (place / release).is_dir())  # fmt: skip
    laid = roots.lay_out(work / "laid", good.keys / "trust")
    shutil.copytree(
        tree / "boot", laid / "boot", ignore=shutil.ignore_patterns("vmlinuz*", "System*")
    )
    if name in ("mkinitcpio busybox", "mkinitcpio systemd"):
        shutil.copytree(scenario.BUILD / "mkinitcpio", laid, symlinks=True, dirs_exist_ok=True)
    key = hashlib.sha256(f"{root.directory} {SCRIPTS[name]} {release}".encode()).hexdigest()[:16]
    out = good.directory / "generators" / key
    if not (out / "initrd.img").exists():
        said = roots.run(root, laid, modules, f"KVER={release}\n{SCRIPTS[name]}", work / "out")
        scenario.BUILD.mkdir(exist_ok=True)
        (scenario.BUILD / f"generator-{slug(root.name + ' ' + name)}.log").write_text(said)
        out.mkdir(parents=True, exist_ok=True)
        shutil.move(work / "out/initrd.img", out / "initrd.img")
    return out / "initrd.img"


def slug(text: str) -> str:
    """A file name for a cell."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower())


def disk(good: Tiny, work: Path, release: str | None = None) -> Path:
    """The store on a disk; its list for another kernel release, if said."""
    if not release:
        return machine.store_disk(good.store, work / "disk.img")
    store = tiny.copy_store(good, work / "store")
    for generation in (1, 2):
        system = tiny.read_list(good, generation)._replace(kernel=release)
        tiny.write_list(good, store, system)
    return machine.store_disk(store, work / "disk.img")


def unsigned_disk(good: Tiny, work: Path) -> Path:
    """The store with one bit of each list's signature changed."""
    store = tiny.copy_store(good, work / "store")
    for path in (store / "lists" / tiny.LIST).glob("*.json"):
        envelope = json.loads(path.read_bytes())
        text = envelope["signatures"][0]["sig"]
        envelope["signatures"][0]["sig"] = ("B" if text[0] == "A" else "A") + text[1:]
        path.unlink()  # a hard link to the cache's file
        path.write_text(json.dumps(envelope))
    return machine.store_disk(store, work / "disk.img")


def good_boot(
    kernel: Path,
    initrd: Path,
    on: Path,
    log: str,
    *,
    cmdline: str = CMDLINE,
    qemu: machine.Qemu = machine.QEMU,
) -> Booted:
    """The list's root runs and says so, and QEMU ends with the guest's own success."""
    place = scenario.BUILD / f"{slug(log)}.console"
    with machine.boot(kernel, initrd, f"{cmdline} tiny.report", on, place, qemu=qemu) as running:
        running.wait_for(r"REPORT layers=(\w+) kernel=(\S+)|stops here", 240)
        status = running.end(60)
        said = running.console
    assert "BOOTED generation=2 extra=here" in said, said[-2000:]
    assert status == machine.SUCCESS << 1 | 1, said[-2000:]
    found = re.search(r"REPORT layers=(\w+) kernel=(\S+)", said)
    assert found
    return Booted(said, found.group(1), found.group(2))


def refused_boot(
    kernel: Path,
    initrd: Path,
    on: Path,
    log: str,
    *,
    says: str,
    cmdline: str = CMDLINE,
    qemu: machine.Qemu = machine.QEMU,
) -> str:
    """The machine says `says`, goes off, and nothing of NEVER is said; the console."""
    place = scenario.BUILD / f"{slug(log)}.console"
    with machine.boot(kernel, initrd, f"{cmdline} {STOP}", on, place, qemu=qemu) as running:
        running.wait_for(says, 240)
        status = running.end(90)
        said = running.console
    assert status == 0, said[-2000:]
    assert [marker for marker in NEVER if marker in said] == []
    return said


def killed_boot(kernel: Path, initrd: Path, good: Tiny, work: Path, log: str) -> None:
    """The agent and its shell are killed, over a store that is itself a root that boots."""
    (work / "killed").mkdir()
    broken = hostile.broken_initrd(initrd, "agent and its shell are killed", work / "killed")
    on = hostile.evil_disk(good.store / "lists", work / "killed")
    said = refused_boot(kernel, broken, on, log, says=r"this machine stops here \(poweroff\)")
    assert "AGENT IS KILLED" in said


def late_boot(kernel: Path, initrd: Path, late: Path, work: Path, *, cmdline: str) -> str:
    """The store's disk is plugged in 5 s after the kernel's start; what the table says."""
    monitor = work / "monitor"
    place = scenario.BUILD / "late.console"
    more = ("-chardev", f"socket,id=plug,path={monitor},server=on,wait=off",
            "-mon", "chardev=plug,mode=readline")  # fmt: skip
    words = f"{cmdline} tiny.report"
    with machine.boot(kernel, initrd, words, None, place, more=more) as running:
        running.wait_for("Linux version", 60)
        time.sleep(5)
        assert "BOOTED" not in running.console
        stores.hot_plug(monitor, late)
        running.wait_for(r"REPORT layers=|stops here", 240)
        assert "BOOTED generation=2 extra=here" in running.console
        assert running.end(60) == machine.SUCCESS << 1 | 1
    return "boots"
