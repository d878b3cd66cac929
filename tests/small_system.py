"""A small system of real packages, for tests that make it wrong: built, stored, read back, merged.

Its programs are ELF files that say what they need and hold no code.
"""

import copy
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import elves
import importing
from importing import directory, member

from bootunion import checks, merge
from bootunion.checks import Finding
from bootunion.host import importer, packaging
from bootunion.host.members import Member
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.manifest import Manifest
from bootunion.merge import Namespace
from bootunion.systemlist import Layer, SystemList

LOADER = "/lib64/ld-linux-x86-64.so.2"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
KERNEL = "6.1-test"

File = bytes | str | None | Member
"""A file (executable when it is ELF or a script), a symlink's target, None for a directory."""


def program(*needed: str, **more: object) -> bytes:
    return elves.elf(*needed, interpreter=LOADER, **more)  # type: ignore[arg-type]


def modules(release: str, name: str) -> dict[str, File]:
    return {f"usr/lib/modules/{release}/kernel/{name}.ko": b"module"}


BASE: dict[str, dict[str, File]] = {
    "base": {
        **dict.fromkeys(("proc", "sys", "dev", "run", "pkgs", "tmp", "etc")),
        **{name: f"usr/{name}" for name in ("bin", "sbin", "lib", "lib64")},
        "usr/lib/os-release": b"ID=test\n",
        "etc/os-release": "../usr/lib/os-release",
        "usr/lib/systemd/system/multi-user.target": b"[Unit]\n",
    },
    "libc": {
        "usr/lib64/ld-linux-x86-64.so.2": elves.elf(soname="ld-linux-x86-64.so.2"),
        f"{LIBRARIES}/libc.so.6": elves.elf("ld-linux-x86-64.so.2", soname="libc.so.6"),
    },
    "init": {
        "usr/lib/systemd/systemd": program("libinit.so.1", runpath="$ORIGIN/private"),
        "usr/sbin/init": "../lib/systemd/systemd",
    },
    "libinit": {
        "usr/lib/systemd/private/libinit.so.1.2": elves.elf("libc.so.6", soname="libinit.so.1"),
        "usr/lib/systemd/private/libinit.so.1": "libinit.so.1.2",
    },
    "shell": {"usr/bin/sh": program("libc.so.6"), "usr/bin/hello": b"#!/bin/sh\n"},
    "kernel": {**modules(KERNEL, "a"), f"usr/lib/modules/{KERNEL}/modules.dep": b"kernel/a.ko:\n"},
}


def members(files: Mapping[str, File]) -> list[Member]:
    made = []
    for path, file in files.items():
        if isinstance(file, bytes):
            mode = 0o755 if file.startswith((b"\x7fELF", b"#!")) else 0o644
            made.append(member(path, file, mode=mode))
        elif isinstance(file, str):
            made.append(member(path, kind=tarfile.SYMTYPE, linkname=file, mode=0o777))
        elif file is None:
            made.append(directory(path))
        else:
            info, data = file
            content = io.BytesIO(data.read()) if data else None
            if data:
                data.seek(0)  # a test may use it again
            made.append((copy.copy(info), content))
    return made


class Shop:
    """A store with the small system's packages, and more as tests make them."""

    def __init__(self, store: Store, signer: Signer, work: Path) -> None:
        self.store = store
        self.signer = signer
        self.work = work
        self.known: dict[str, Manifest] = {}
        self.base = {name: self.build(name, files) for name, files in BASE.items()}

    def build(self, name: str, files: Mapping[str, File], markers: Sequence[str] = ()) -> Manifest:
        """A package made of files, as `bootunion build` makes one."""
        about = Description(name, "1", "amd64")
        made = packaging.write_package(
            self.store, members(files), about, None, self.signer, markers=markers
        )
        self.known[made.image.root_hash] = made
        return made

    def deb(self, name: str, version: str = "1", files: Mapping[str, File] | None = None,
            **fields: str) -> Manifest:  # fmt: skip
        """A package imported from a .deb with these control fields."""
        control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n"
        control += "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in fields.items())
        path = importing.deb(
            self.work / f"{name}_{version.replace(':', '')}.deb",
            [directory("./"), *members(files or {})],
            f"{control}Description: made for a test\n".encode(),
        )
        made = importer.import_deb(path, self.store.path, self.signer, {})
        self.known[made.image.root_hash] = made
        return made

    def layers(self, *over: Manifest, without: Sequence[str] = (),
               below: Sequence[Manifest] = ()) -> list[Manifest]:  # fmt: skip
        """The small system's packages, with others on top of and below them."""
        return [*over, *(one for name, one in self.base.items() if name not in without), *below]

    def merged(self, layers: Sequence[Manifest]) -> Namespace:
        # By the root hash: a test may give a layer another name.
        return merge.merge(self.store.entries(self.known[one.image.root_hash]) for one in layers)

    def check(self, layers: Sequence[Manifest], **fields: object) -> list[Finding]:
        found = checks.check(listed(layers, **fields), self.merged(layers), layers)
        return list(found)

    def finding(self, code: str, layers: Sequence[Manifest], **fields: object) -> Finding:
        """The one finding of `code`, which must name its package, its path and a way out."""
        findings = self.check(layers, **fields)
        (one,) = (each for each in findings if each.code == code)
        assert one.package in one.text and one.path in one.text and one.path, one
        assert one.way_out.endswith("."), one
        return one


def listed(layers: Sequence[Manifest], **fields: object) -> SystemList:
    usual: dict[str, object] = {"kernel": KERNEL, "good_when": ("multi-user.target",)}
    system = SystemList(
        "small", 1, 0, 0, "amd64", "", tuple(layer(one) for one in layers), "volatile", "0" * 64
    )
    return system._replace(**{**usual, **fields})  # type: ignore[arg-type]


def layer(made: Manifest) -> Layer:
    return Layer(made.name, made.version, made.architecture, made.image)
