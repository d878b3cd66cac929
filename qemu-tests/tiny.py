"""A root of a few small packages and an initramfs of our own: a whole boot takes seconds.

The agent, its closure, the kernel, dm-verity and overlayfs are the real ones; what is small is the
root, whose init says which generation it is and ends the machine with success.
"""

from __future__ import annotations

import functools
import hashlib
import lzma
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import scenario
from machine import EXIT_PORT, SUCCESS

from bootunion import dsse, manifest, merge, package, systemlist
from bootunion.host import build, packaging, signing
from bootunion.host.index import making
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.manifest import Manifest
from bootunion.systemlist import Layer, SystemList

LIST = "tiny"
MODULES = ("virtio_pci", "virtio_blk", "ext4", "loop", "dm_mod", "dm_verity", "squashfs",
           "erofs", "overlay")  # fmt: skip

_INITRAMFS_INIT = """\
#!/bin/busybox sh
bb=/bin/busybox
$bb mount -t proc proc /proc; $bb mount -t sysfs sys /sys; $bb mount -t devtmpfs dev /dev
$bb mount -t tmpfs run /run
for module in $($bb cat /modules/order); do $bb insmod /modules/$module; done
if $bb grep -q tiny.cells /proc/cmdline; then
    /usr/bin/python3 -I -S -E -B /cells/run.py
    $bb poweroff -f
fi
$bb mount -t ext4 -o ro /dev/vda /sysroot
if $bb grep -q tiny.seal /proc/cmdline; then
    $bb mount -o remount,rw /sysroot
    /usr/bin/python3 -I -S -E -B /seal.py
    $bb mount -o remount,ro /sysroot
fi
$bb grep -q tiny.writable /proc/cmdline && $bb mount -o remount,rw /sysroot
export PATH=/bin
if /bin/sh /usr/lib/bootunion/bootunion-run; then
    $bb mkdir -p /sysroot/run
    $bb mount --move /run /sysroot/run
    exec $bb switch_root /sysroot /sbin/init
fi
echo TINY: the agent came back without a root
$bb poweroff -f
"""

# What `bootunion seal` does, which an initramfs has no use for but here.
_SEAL = """\
import sys
sys.path.append("/usr/lib/bootunion/agent")
from bootunion.host import sealing
import os
place = "/sysroot/packages"
images = [name for name in os.listdir(place) if name.endswith(".erofs")]
print("SEALED", sum(sealing.seal(f"{place}/{name}") for name in images), "of", len(images))
"""

_ROOT_INIT = f"""\
#!/bin/sh
export PATH=/usr/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
word() {{ grep -q "$1" /proc/cmdline; }}
echo "BOOTED generation=$(cat /usr/share/generation) extra=$(cat /usr/share/extra 2>&1)"
if word tiny.report; then
    by=$(grep -o '"overlay_layers_by": "[a-z]*"' /run/bootunion/boot.json | grep -o '[a-z]*"$')
    echo "REPORT layers=${{by%%\\"}} kernel=$(cat /proc/sys/kernel/osrelease)"
    echo "FILES $(grep -o '"by_file": [0-9]*' /run/bootunion/boot.json)"
    echo "DEVICES loop=$(ls -d /sys/block/loop*/loop 2> /dev/null | grep -c .)" \
        "dm=$(ls -d /sys/block/dm-* 2> /dev/null | grep -c .)"
    echo "KEPT" $(ls /run/bootunion/private/index 2> /dev/null)
    echo "UNION $(grep -o '"union": "[a-z]*"' /run/bootunion/boot.json)"
fi
if word tiny.good; then
    python3 -I -S -E -B -c 'import sys
sys.path.append("/usr/lib/bootunion/agent")
from bootunion.host import marking
print("MARKED", marking.mark_good("/pkgs")[1])'
fi
word tiny.ballast && {{ cat /usr/share/ballast > /dev/null; echo "READ ended with $?"; }}
if word tiny.container; then
    mount -t tmpfs tmpfs /tmp
    mkdir /tmp/upper /tmp/work /tmp/root
    mount -t overlay -o lowerdir=/,upperdir=/tmp/upper,workdir=/tmp/work overlay /tmp/root
    echo "CONTAINER generation=$(cat /tmp/root/usr/share/generation)"
fi
word tiny.hang && sleep 1000
word tiny.reboot && reboot -f
sync
printf '\\{SUCCESS:03o}' | dd of=/dev/port bs=1 seek={EXIT_PORT} conv=notrunc 2> /dev/null
poweroff -f
"""

_APPLETS = ("cat", "echo", "dd", "dmesg", "grep", "ls", "mkdir", "mount", "poweroff", "printf",
            "reboot", "sh", "sleep", "sync", "umount")  # fmt: skip


class Tiny(NamedTuple):
    """What `make` leaves on the disk."""

    directory: Path
    image_format: str = package.SQUASHFS

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinux"

    @property
    def initrd(self) -> Path:
        return self.directory / "initrd.img"

    @property
    def store(self) -> Path:
        return self.directory / "store"

    @property
    def keys(self) -> Path:
        return self.directory / "keys"

    def list_file(self, generation: int) -> Path:
        return self.store / f"lists/{LIST}/{generation}.json"


@functools.cache
def kernel_tree() -> tuple[Path, str]:
    """Debian's stock kernel, unpacked with its modules indexed, and its release."""
    said = subprocess.run(
        ["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=True
    ).stdout
    name = next(word for word in said.split() if word.startswith("linux-image-6"))
    tree = scenario.CACHE / name
    release = name.removeprefix("linux-image-")
    if not (tree / "complete").exists():
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(parents=True)
        subprocess.run(["apt-get", "-qq", "download", name], cwd=tree, check=True)
        deb = next(tree.glob("*.deb"))
        subprocess.run(["dpkg-deb", "-x", deb, tree], check=True)
        deb.unlink()
        subprocess.run(["/usr/sbin/depmod", "-b", tree, release], check=True)
        (tree / "complete").touch()
    return tree, release


def unpacked(vmlinuz: Path) -> bytes:
    """The ELF image in a vmlinuz: QEMU starts it by PVH, seconds sooner than it unpacks itself."""
    data = vmlinuz.read_bytes()
    start = data.find(b"\xfd7zXZ\0")
    if start < 0:
        return data  # compressed otherwise: it unpacks itself
    return lzma.LZMADecompressor().decompress(data[start:])


def make(image_format: str = package.SQUASHFS, kernel: tuple[Path, str] | None = None) -> Tiny:
    """Kernel, initramfs, keys and a store with two good generations; cached by their inputs.

    Another `image_format` than squashfs needs its program in PATH; with erofs-uncompressed each
    list has an index. `kernel` is another one than Debian 12's: its tree and its release.
    """
    tree, release = kernel or kernel_tree()
    kind = "" if image_format == package.SQUASHFS else f"-{image_format}"
    tiny = Tiny(scenario.CACHE / f"tiny-{scenario.inputs_digest()}-{release}{kind}", image_format)
    if (tiny.directory / "complete").exists():
        return tiny
    shutil.rmtree(tiny.directory, ignore_errors=True)
    tiny.directory.mkdir(parents=True)
    tiny.kernel.write_bytes(unpacked(tree / f"boot/vmlinuz-{release}"))
    signing.generate(tiny.keys)
    signing.generate(tiny.directory / "stranger")
    closure = tiny.directory / "closure"
    scenario.bootunion("initramfs-files", "--install", closure)
    _store(tiny, release, closure)
    _initrd(tiny, tree, release, closure)
    (tiny.directory / "complete").touch()
    return tiny


def _store(tiny: Tiny, release: str, closure: Path) -> None:
    store = Store(tiny.store).create()
    signer = Signer(tiny.keys / "package.key")
    parts = {one.name: one for one in _packages(tiny, store, signer, closure)}
    for generation in (1, 2):
        system = standard_list(parts, generation, release)
        if tiny.image_format == package.EROFS_UNCOMPRESSED:
            system = indexed(store, system, signer)
        write_list(tiny, tiny.store, system)


def indexed(store: Store, system: SystemList, signer: Signer) -> SystemList:
    """The list with an index over its packages, all of them required."""
    layers = tuple(layer._replace(need=systemlist.REQUIRED) for layer in system.layers)
    described = (manifest_of(store, layer) for layer in layers)
    merged = merge.merge(store.entries(one) for one in described)
    system = system._replace(layers=layers)
    return system._replace(index_layer=making.make(store, system, merged, signer))


def manifest_of(store: Store, layer: Layer) -> Manifest:
    """A package's manifest; its signature is not looked at."""
    return manifest.decode(store.envelope(layer.stem).payload, subject=layer.stem)


def _packages(tiny: Tiny, store: Store, signer: Signer, closure: Path) -> Iterable[Manifest]:
    work = tiny.directory / "trees"

    def made(name: str, files: dict[str, bytes | str]) -> Manifest:
        tree = work / name
        for path, data in files.items():
            place = tree / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(data, str):
                place.symlink_to(data)
            elif path.endswith("/"):
                place.mkdir(exist_ok=True)
            else:
                place.write_bytes(data)
                place.chmod(0o755)
        return signed_package(store, signer, name, tree, tiny.image_format)

    busybox = Path("/usr/bin/busybox")
    busybox = busybox if busybox.exists() else Path("/bin/busybox")
    base: dict[str, bytes | str] = {
        "usr/bin/busybox": busybox.read_bytes(), "bin": "usr/bin", "sbin": "usr/sbin",
        "lib": "usr/lib", "lib64": "usr/lib64", "usr/sbin/init": _ROOT_INIT.encode(),
        "etc/os-release": b"ID=tiny\n",
        **{f"usr/bin/{name}": "busybox" for name in _APPLETS},
        **{f"{name}/": b"" for name in ("proc", "sys", "dev", "run", "pkgs", "tmp")},
    }  # fmt: skip
    yield made("base", base)
    yield made("extra", {"usr/share/extra": b"here\n"})
    for generation in (1, 2):
        marker, ballast = f"{generation}\n".encode(), incompressible(generation)
        yield made(f"generation-{generation}",
                   {"usr/share/generation": marker, "usr/share/ballast": ballast})  # fmt: skip
    # On a merged /usr, as the base is.
    tree = work / "agent"
    shutil.copytree(closure, tree, symlinks=True)
    for name in ("lib", "lib64"):
        if (tree / name).exists():
            shutil.copytree(tree / name, tree / "usr" / name, dirs_exist_ok=True)
            shutil.rmtree(tree / name)
    host = tree / "usr/lib/bootunion/agent/bootunion/host"
    host.mkdir()
    for name in ("__init__.py", "marking.py"):
        shutil.copy(scenario.TOP / "bootunion/host" / name, host)
    yield signed_package(store, signer, "agent", tree, tiny.image_format)


def incompressible(seed: int) -> bytes:
    """A mebibyte that no compressor makes smaller: its package's hash tree has two levels."""
    return b"".join(hashlib.sha256(b"%d %d" % (seed, n)).digest() for n in range(1 << 15))


def signed_package(
    store: Store, signer: Signer, name: str, tree: Path, image_format: str = "squashfs"
) -> Manifest:
    """A directory as a package in the store."""
    about = Description(name, "1", "amd64")
    return packaging.write_package(
        store, build.members(tree), about, None, signer, image_format=image_format
    )


def standard_list(parts: dict[str, Manifest], generation: int, release: str) -> SystemList:
    """Generation 1 or 2 of the list: marker, optional `extra`, agent, base."""
    names = (f"generation-{generation}", "extra", "agent", "base")
    layers = tuple(
        Layer(name, "1", "amd64", parts[name].image, "optional" if name == "extra" else "required")
        for name in names
    )
    return SystemList(LIST, generation, 1, 1_700_000_000 + generation, "amd64", release, layers,
                      "volatile", "0" * 64)  # fmt: skip


def write_list(tiny: Tiny, store: Path, system: SystemList, *, key: str = "list.key") -> Path:
    """Sign a list and store it as the current one, whatever was there."""
    envelope = Signer(tiny.keys / key)(system.encode(), systemlist.PAYLOAD_TYPE)
    directory = store / "lists" / system.name
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{system.generation}.json"
    path.unlink(missing_ok=True)  # it may be a hard link
    path.write_bytes(envelope)
    (directory / "current").unlink(missing_ok=True)
    (directory / "current").write_text(f"{system.generation}\n")
    return path


def read_list(tiny: Tiny, generation: int) -> SystemList:
    """A list of the standard store."""
    envelope = dsse.decode(tiny.list_file(generation).read_bytes(), subject="x")
    return systemlist.decode(envelope.payload, subject="x")


def copy_store(tiny: Tiny, target: Path) -> Path:
    """A copy of the store by hard links: replace its files, never write into them."""
    subprocess.run(["cp", "-al", tiny.store, target], check=True)
    return target


def _initrd(tiny: Tiny, tree: Path, release: str, closure: Path) -> None:
    root = tiny.directory / "initrd"
    shutil.copytree(closure, root, symlinks=True)
    for name in ("proc", "sys", "dev", "run", "tmp", "sysroot", "bin", "modules"):
        (root / name).mkdir(exist_ok=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", root / "bin/busybox")
    for applet in ("cat", "echo", "grep", "sh", "sleep", "sync", "umount"):
        (root / "bin" / applet).symlink_to("busybox")
    (root / "init").write_text(_INITRAMFS_INIT)
    (root / "init").chmod(0o755)
    shutil.copytree(tiny.keys / "trust", root / "etc/bootunion/trust")
    (root / "seal.py").write_text(_SEAL)
    host = root / "usr/lib/bootunion/agent/bootunion/host"
    host.mkdir()
    for module in ("__init__.py", "sealing.py"):
        shutil.copy(scenario.TOP / "bootunion/host" / module, host)
    install_modules(tree, release, root / "modules", MODULES)
    archive(root, tiny.initrd)


def install_modules(tree: Path, release: str, target: Path, names: Iterable[str]) -> None:
    """Kernel modules and what they need, and the file `order` that says how to load them."""
    order = modules(tree, release, names)
    for file in order:
        # busybox loads no compressed ones.
        if file.suffix == ".xz":
            (target / file.stem).write_bytes(lzma.decompress(file.read_bytes()))
        else:
            shutil.copy(file, target)
    names = (file.name.removesuffix(".xz") for file in order)
    (target / "order").write_text("".join(f"{name}\n" for name in names))


def modules(tree: Path, release: str, names: Iterable[str]) -> list[Path]:
    """The files of kernel modules, each after those that it needs."""
    found: dict[Path, None] = {}
    for name in names:
        said = subprocess.run(
            ["/usr/sbin/modprobe", "-d", tree, "-S", release, "--show-depends", name],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for line in said.splitlines():
            kind, _, path = line.partition(" ")
            if kind == "insmod":
                found[Path(path.strip())] = None
    return list(found)


def appended(initrd: Path, extra: Path, target: Path) -> Path:
    """`initrd` with one more archive, which the kernel finds at a multiple of four bytes only."""
    first = initrd.read_bytes()
    target.write_bytes(first + b"\0" * (-len(first) % 4) + extra.read_bytes())
    return target


def archive(root: Path, target: Path) -> Path:
    """A directory as an initramfs archive; the kernel unpacks several behind each other."""
    names = b"\0".join(
        os.fsencode(path.relative_to(root)) for path in [root, *sorted(root.rglob("*"))]
    )
    with target.open("wb") as file:
        subprocess.run(["cpio", "--quiet", "-0", "-o", "-H", "newc", "-R", "0:0"], cwd=root,
                       input=names, stdout=file, check=True)  # fmt: skip
    return target
