"""The machine that measures: Debian's stock kernel, an initramfs with all that is compared."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import boot_store  # noqa: F401 - finds the modules of qemu-tests
import machine
import packages
import roots
import tiny
from boot_store import Disks

from bootunion.host import closure

MODULES = (
    "ext4",
    "nfit",
    "nd_pmem",
    "loop",
    "dm_mod",
    "dm_verity",
    "squashfs",
    "erofs",
    "overlay",
)
_PROGRAMS = ("/usr/bin/dash", "/usr/bin/mount", "/usr/bin/umount", "/usr/bin/mkdir",
             "/usr/bin/stat", "/usr/sbin/losetup", "/usr/sbin/veritysetup",
             "/usr/bin/systemd-sysext")  # fmt: skip
# What systemd opens when it needs it, and ldd does not show.
_LIBRARY = "/usr/lib/x86_64-linux-gnu/libcryptsetup.so.12"
# RDRAND: without it the first to ask for random bytes waits a second for them.
USUAL = "qemu64,+rdrand"  # the processor
_HERE = packages.TOP / "bench"


class Guest(NamedTuple):
    """What a machine is started with."""

    kernel: Path
    initrd: Path
    release: str
    qemu: machine.Qemu
    suffix: str  # of the clock's name
    processor: str = USUAL


def make(disks: Disks, suite: str = "bookworm") -> Guest:
    """Kernel of a Debian suite and initramfs with the agent of this tree."""
    tree, release = roots.kernel(suite)
    usual = suite == "bookworm"
    directory = packages.CACHE / f"bench-guest-{_inputs()}{'' if usual else f'-{suite}'}"
    qemu = machine.QEMU if usual else roots.newer_qemu()
    guest = Guest(
        directory / "vmlinux", directory / "initrd.img", release, qemu, "" if usual else f" {suite}"
    )
    if guest.initrd.exists():
        return guest
    shutil.rmtree(directory, ignore_errors=True)
    root = directory / "root"
    root.mkdir(parents=True)
    guest.kernel.write_bytes(tiny.unpacked(tree / f"boot/vmlinuz-{release}"))
    closure.install(closure.compute(Path("/usr/bin/python3")), root)
    for name in ("proc", "sys", "dev", "run", "tmp", "sysroot", "bin", "modules", "bench"):
        (root / name).mkdir(exist_ok=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", root / "bin/busybox")
    for program in _PROGRAMS:
        _install(Path(program), root)
    _install(Path(_LIBRARY), root)
    # An extension is for an OS, and merged into one.
    (root / "usr/lib/os-release").write_text("ID=bench\n")
    shutil.copytree(disks.trust, root / "etc/bootunion/trust")
    _compile(_HERE / "floor.c", root / "bench/floor")
    _compile(_HERE / "guest/meter.c", root / "bench/meter")
    shutil.copy(_HERE / "guest/shell-hook", root / "bench")
    shutil.copy(_HERE / "guest/seal.py", root / "bench")
    host = root / "usr/lib/bootunion/agent/bootunion/host"
    host.mkdir()
    for module in ("__init__.py", "sealing.py"):
        shutil.copy(packages.TOP / "bootunion/host" / module, host)
    shutil.copy(_HERE / "guest/init", root / "init")
    (root / "init").chmod(0o755)
    tiny.install_modules(tree, release, root / "modules", MODULES)
    tiny.archive(root, directory / "initrd.new")
    (directory / "initrd.new").rename(guest.initrd)
    shutil.rmtree(root)
    return guest


def _inputs() -> str:
    """The digest of what is put into the initramfs from this tree."""
    state = hashlib.sha256()
    top = packages.TOP
    files = [*(top / "bootunion").glob("*.py"), *(top / "bootunion/initrd").iterdir(),
             *(top / "bootunion/host" / name for name in ("closure.py", "sealing.py")),
             _HERE / "floor.c", *_HERE.glob("guest/*"),
             _HERE / "boot_image.py"]  # fmt: skip
    for path in sorted(files):
        if path.is_file():
            state.update(f"{path.relative_to(top)}\n".encode() + path.read_bytes())
    return state.hexdigest()[:16]


def _compile(source: Path, target: Path) -> None:
    argv = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", target, source]
    subprocess.run(argv, check=True)


def _install(program: Path, root: Path) -> None:
    """A program and the libraries that it is linked to, at their own places."""
    said = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    words = (word for line in said.splitlines() for word in line.split() if word.startswith("/"))
    for name in (str(program), *words):
        target = root / name.lstrip("/")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, target)
