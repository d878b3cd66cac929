"""Disks that carry the store in the ways that `root=` can name, made without device mapper."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import machine
import roots
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from roots import Root

UUID = "5b0c2f9e-6a0b-4b57-9d0e-9a4c0f5f0001"
PARTUUID = "5b0c2f9e-6a0b-4b57-9d0e-9a4c0f5f0002"
LUKS_UUID = "5b0c2f9e-6a0b-4b57-9d0e-9a4c0f5f0003"
KEY_FILE = "/etc/bootunion-test.key"
_MIB = 1 << 20
_SECTOR = 512  # ext4 makes smaller blocks than 4096 on a small disk
_LUKS_DATA = 16 * _MIB  # LUKS2's default place of the data


def partitioned(ext4: Path, target: Path) -> Path:
    """A GPT with one partition; file system and partition have the ids above."""
    subprocess.run(["/usr/sbin/tune2fs", "-U", UUID, ext4], check=True, capture_output=True)
    size = ext4.stat().st_size
    with target.open("wb") as disk:
        disk.truncate(size + 2 * _MIB)
    table = f"label: gpt\nstart=2048, size={size // 512}, uuid={PARTUUID}\n"
    argv = ["/usr/sbin/sfdisk", "--quiet", target]
    subprocess.run(argv, input=table.encode(), check=True)
    _write_at(target, _MIB, ext4)
    return target


def encrypted(ext4: Path, target: Path, key: Path) -> Path:
    """LUKS2 (AES-XTS) that the key file opens.

    cryptsetup writes the header; the sectors are encrypted here, for that needs no device mapper.
    """
    volume_key = os.urandom(64)
    raw = target.with_suffix(".volume-key")
    raw.write_bytes(volume_key)
    key.write_bytes(os.urandom(32))
    with target.open("wb") as disk:
        disk.truncate(_LUKS_DATA + ext4.stat().st_size)
    argv: list[str | Path] = [
        "/usr/sbin/cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2", "--uuid",
        LUKS_UUID, "--cipher", "aes-xts-plain64", "--key-size", "512",
        "--sector-size", str(_SECTOR),
        "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--volume-key-file", raw,
        target, key,
    ]  # fmt: skip
    subprocess.run(argv, check=True)
    data = ext4.read_bytes()
    with target.open("r+b") as disk:
        disk.seek(_LUKS_DATA)
        for start in range(0, len(data), _SECTOR):
            # plain64: the number of the sector, little endian.
            tweak = struct.pack("<QQ", start // _SECTOR, 0)
            xts = Cipher(algorithms.AES(volume_key), modes.XTS(tweak)).encryptor()
            disk.write(xts.update(data[start : start + _SECTOR]))
    return target


# --driverloaded n: LVM writes its metadata without device mapper.
_LVM = """
loop=$(losetup --find --show /disk); trap 'losetup -d "$loop"' EXIT
flags="--driverloaded n --devices $loop --config devices/use_devicesfile=0"
pvcreate -qq $flags --dataalignment 1m "$loop"
vgcreate -qq $flags store "$loop"
lvcreate -qq $flags -an -Zn -Wn -l 100%FREE -n pkgs store
pvs $flags --noheadings -o pe_start --units b "$loop"
sync; cp /disk /out/disk.img
"""


def on_lvm(root: Root, modules: Path, ext4: Path, target: Path, work: Path) -> Path:
    """A volume group `store` with one linear volume `pkgs`."""
    tree = work / "lvm"
    tree.mkdir()
    with (tree / "disk").open("wb") as disk:
        disk.truncate(ext4.stat().st_size + 16 * _MIB)
    roots.run(root, tree, modules, _LVM, work / "lvm-out")
    shutil.move(work / "lvm-out/disk.img", target)
    _write_at(target, _MIB, ext4)
    return target


_BTRFS = """
truncate -s 512M /disk
mkfs.btrfs --quiet --label pkgs /disk
mkdir /mnt/disk; mount -o loop /disk /mnt/disk
btrfs subvolume create /mnt/disk/store
cp -a /store/. /mnt/disk/store
umount /mnt/disk
cp --sparse=always /disk /out/disk.img
"""


def on_btrfs(root: Root, modules: Path, store: Path, target: Path, work: Path) -> Path:
    """A btrfs whose subvolume `store` holds the store."""
    tree = work / "btrfs"
    tree.mkdir()
    shutil.copytree(store, tree / "store", symlinks=True)
    roots.run(root, tree, modules, _BTRFS, work / "btrfs-out")
    shutil.move(work / "btrfs-out/disk.img", target)
    return target


def hot_plug(monitor: Path, disk: Path) -> None:
    """Give a running machine a disk, through QEMU's monitor."""
    with socket.socket(socket.AF_UNIX) as talk:
        talk.connect(str(monitor))
        _until_prompt(talk)
        for line in (f"drive_add 0 if=none,id=late,format=raw,snapshot=on,file={disk}",
                     "device_add virtio-blk-pci,drive=late,id=late"):  # fmt: skip
            talk.sendall(f"{line}\n".encode())
            said = _until_prompt(talk)
            if "Error" in said:
                raise machine.MachineError(said)


def _until_prompt(talk: socket.socket) -> str:
    # The monitor answers a command before its next prompt; what it echoes has none.
    said = b""
    while not said.endswith(b"(qemu) "):
        part = talk.recv(65536)
        if not part:
            raise machine.MachineError(said.decode(errors="replace"))
        said += part
    return said.decode(errors="replace")


def _write_at(target: Path, offset: int, source: Path) -> None:
    with target.open("r+b") as disk, source.open("rb") as data:
        disk.seek(offset)
        shutil.copyfileobj(data, disk)
