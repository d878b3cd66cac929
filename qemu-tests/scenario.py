"""The demo's Debian, made by bootunion's own commands and kept by the digest of its inputs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import machine

from bootunion import plan

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import erofs_utils

TOP = Path(__file__).resolve().parents[1]
BUILD = TOP / "build"
CACHE = Path(os.environ.get("BOOTUNION_CACHE", BUILD / "cache")).resolve()
BOOTUNION = Path(sys.executable).with_name("bootunion")
# What a virtual machine needs; the generic set is measured apart (docs/measurements.md).
DRIVERS = "virtio_pci virtio_blk virtio_rng ext4 loop dm_mod dm_verity squashfs erofs overlay"
UNION = os.environ.get("BOOTUNION_UNION", plan.UNION_LAYERS)
"""How the demo's root is united: `index` runs these tests over an index (docs/composing.md)."""

UPPER = "/run/bootunion/private/upper"
CMDLINE = "root=LABEL=pkgs bootunion=demo"
FLAVOURS = {"systemd": [], "plain": ["--plain"]}
_PROOFS = {
    "root": "overlay", "layers_visible": 0, "verity_is_the_list": True, "state": "running",
    "failed": "", "multi_user": "active", "audit": "", "not_installed": [], "dpkg_verify": "",
    "sudo": [0o4755, 0], "ssh": "over ssh", "machine_id": 32, "hello_before": False,
    "hello_after": "hello", "store_lacks": [], "good": True,
    "kept_report": 1, "layers_named": True,
}  # fmt: skip


class Debian(NamedTuple):
    """The demo on disk: its store, keys, kernel, an initramfs for each flavour, a disk image."""

    directory: Path

    @property
    def store(self) -> Path:
        return self.directory / "store"

    @property
    def trust(self) -> Path:
        return self.directory / "keys/trust"

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def disk(self) -> Path:
        return self.directory / "disk.img"

    def initrd(self, flavour: str) -> Path:
        return self.directory / f"{flavour}.img"


def bootunion(*words: str | Path) -> None:
    """Run a bootunion command, showing what it says."""
    subprocess.run([str(BOOTUNION), *map(str, words)], check=True, cwd=TOP)


def inputs_digest() -> str:
    """The digest of everything in the repository that the demo's images are made of."""
    state = hashlib.sha256()
    for place in ("bootunion", "dracut-module", "demo", "qemu-tests"):
        for path in sorted((TOP / place).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                state.update(f"{path.relative_to(TOP)}\n".encode() + path.read_bytes())
    return state.hexdigest()[:16]


def make() -> Debian:
    """The demo's Debian; made when the cache has none of these inputs."""
    debian = Debian(CACHE / f"demo-{inputs_digest()}{'-index' * (UNION == plan.UNION_INDEX)}")
    if (debian.directory / "complete").exists():
        return debian
    shutil.rmtree(debian.directory, ignore_errors=True)
    debian.directory.mkdir(parents=True)
    tree = BUILD / "demo/bootunion"
    subprocess.run([sys.executable, TOP / "demo/bootunion-tree.py", TOP, tree], check=True)
    keys = debian.directory / "keys"
    bootunion("keygen", keys)
    bootunion("compose", _system_yaml(debian.directory), "--keys", keys, "--cache", CACHE,
              "--store", debian.store)  # fmt: skip
    for flavour, words in FLAVOURS.items():
        bootunion("initramfs", "demo", "--store", debian.store, "--trust", debian.trust,
                  "--output", debian.initrd(flavour), "--kernel-output", debian.kernel,
                  "--drivers", DRIVERS, *words)  # fmt: skip
    extra = debian.directory / "tests"
    extra.mkdir()
    for name in ("check.py", "running.py", "on_top.py"):
        shutil.copy(TOP / "qemu-tests/guest" / name, extra)
    _hello_deb(extra / "hello.deb")
    machine.store_disk(debian.store, debian.disk, extra)
    (debian.directory / "complete").touch()
    return debian


def _system_yaml(work: Path) -> Path:
    """The demo's, or one that asks for an index; then a mkfs.erofs that can make one is found."""
    made = TOP / "demo/system.yaml"
    if UNION != plan.UNION_INDEX:
        return made
    os.environ["PATH"] = f"{erofs_utils.tools(CACHE)}:{os.environ['PATH']}"
    text = made.read_text().replace(": ../", f": {TOP}/").replace(": tree", f": {TOP}/demo/tree")
    copy = work / "system.yaml"
    copy.write_text(f"{text}union: {UNION}\n")
    return copy


def _hello_deb(target: Path) -> None:
    tree = target.with_suffix(".tree")
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: hello-bootunion\nVersion: 1\nArchitecture: all\n"
        "Maintainer: nobody <nobody@localhost>\nDescription: a small package\n"
    )
    script = tree / "usr/bin/hello-bootunion"
    script.write_text("#!/bin/sh\necho hello\n")
    script.chmod(0o755)
    argv: list[str | Path] = ["dpkg-deb", "--root-owner-group", "-b", tree, target]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)


def check(running: machine.Machine) -> dict[str, Any]:
    """What the machine says of itself; its boot report under `report`."""
    status, said = running.run("python3 /pkgs/tests/check.py", 420)
    assert status == 0, said
    lines = {line.split(" ", 1)[0]: line.split(" ", 1)[1]
             for line in said.splitlines() if line.startswith("BOOTUNION-")}  # fmt: skip
    found: dict[str, Any] = json.loads(lines["BOOTUNION-CHECK"])
    found["report"] = json.loads(lines["BOOTUNION-REPORT"])
    return found


def on_top(running: machine.Machine) -> dict[str, Any]:
    """What guest/on_top.py says: what could be mounted on top of the root."""
    status, said = running.run("python3 /pkgs/tests/on_top.py", 300)
    found = re.search(r"BOOTUNION-ON-TOP (\{.*\})", said)
    assert status == 0 and found, said
    shown: dict[str, Any] = json.loads(found.group(1))
    return shown


def looks(running: machine.Machine, *words: str) -> dict[str, Any]:
    """What guest/running.py says: name of a look → what was found."""
    status, said = running.run(f"python3 /pkgs/tests/running.py {' '.join(words)}", 1800)
    assert status == 0, said
    lines = [line.partition(" ")[2] for line in said.splitlines()
             if line.startswith("BOOTUNION-LOOK")]  # fmt: skip
    return {one["name"]: one["found"] for one in map(json.loads, lines)}


def root_shortfalls(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is not as it must be after `check` and `looks(…, "green")`: name → what was found."""
    root, drift = found["root"], found["drift"]
    said = root.get("said", {})
    same = root["status"] == 0 and said["result"] == "same" and said["found"] == said["digest"]
    wrong = {} if same else {"check-root": root}
    changes = {one["path"]: one for one in drift.get("said", {}).get("changes", ())}
    # What `check` did: a local .deb was installed, and dpkg noted it.
    hello, noted = changes.get("/usr/bin/hello-bootunion"), changes.get("/var/lib/dpkg/status")
    if not hello or hello["change"] != "added" or not noted or noted["change"] != "content":
        wrong["drift"] = drift
    if any(path.startswith(("/proc/", "/run/", "/pkgs/", "/sys/")) for path in changes):
        wrong["drift of mounts"] = sorted(changes)
    return wrong


def shortfalls(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is not as it must be: name → what was found."""
    wrong = {name: found[name] for name, value in _PROOFS.items() if found[name] != value}
    if not found["packages"] == found["verity"] == found["all_mapped_devices"]:
        wrong["verity"] = [found["packages"], found["verity"], found["all_mapped_devices"]]
    if found["packages"] < 121 or not found["ping"]:
        wrong["packages"] = [found["packages"], found["ping"]]
    return wrong


def flip(image: Path, offset: int) -> None:
    """Flip one bit of a file."""
    with image.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))
