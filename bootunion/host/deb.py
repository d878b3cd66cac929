"""Reads a .deb and gives its members: its files on a merged /usr, and dpkg's record of it.

dpkg's own tools open the archive. What dpkg would have written on unpacking goes into the image,
so that a union of packages has all of dpkg's info files and composing only joins the rest:

- `/var/lib/dpkg/info/<package>.*`: control files, and the `.list` of paths as the .deb has them
  (a stock merged-/usr Debian records `/bin/ls`, too);
- `/var/lib/dpkg/status.d/<package>`: its stanza of the status file, state `unpacked`.
"""

from __future__ import annotations

import email.parser
import email.policy
import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bootunion.errors import BootunionError

from . import mergedusr, reproducible, run
from .members import Member
from .packaging import Description

ADMIN = "var/lib/dpkg"
STATUS_PARTS = f"{ADMIN}/status.d"
_MAX_CONTROL_FILE = 64 << 20
_SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config")
# These are dpkg's business while unpacking, or go into the status file.
_NOT_KEPT = ("control",)


class Control(NamedTuple):
    """A .deb's control files by name, and the fields of `control` in their order."""

    fields: dict[str, str]
    files: dict[str, bytes]

    @property
    def record(self) -> str:
        """The name that dpkg files the package under."""
        name = self.fields["Package"]
        # dpkg qualifies the names of packages that may be installed for several architectures.
        if self.fields.get("Multi-Arch") == "same":
            return f"{name}:{self.fields['Architecture']}"
        return name


def describe(control: Control) -> Description:
    """What the manifest says of this .deb."""
    fields = control.fields
    return Description(
        fields["Package"],
        fields["Version"],
        fields["Architecture"],
        fields.get("Description", "").partition("\n")[0][:1024],
        _relations(fields, "Pre-Depends") + _relations(fields, "Depends"),
        _relations(fields, "Provides"),
    )


def _relations(fields: dict[str, str], key: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in fields.get(key, "").split(",") if part.strip())


def build_time(path: Path) -> int:
    """When a .deb was built, seconds since 1970: no file in it is newer (deb(5), dpkg-deb(1)).

    It stands in the header of the archive's first member (ar(5)).
    """
    with path.open("rb") as file:
        text = file.read(40)[24:36].strip()
    return max(int(text) if text.isdigit() else 0, reproducible.EPOCH)


def read_control(path: Path) -> Control:
    """The control part of a .deb. Raises BootunionError file-missing, deb-invalid."""
    if not path.is_file():
        raise BootunionError("file-missing", "there is no such .deb file", subject=str(path))
    out = run.run(
        ["dpkg-deb", "--ctrl-tarfile", str(path)],
        what=f"reading {path.name}",
        check_code="deb-invalid",
    ).stdout
    files = {}
    with tarfile.open(fileobj=io.BytesIO(out), errors="surrogateescape") as archive:
        for info in archive:
            name = mergedusr.clean(info.name)
            if info.isreg() and "/" not in name and info.size <= _MAX_CONTROL_FILE:
                file = archive.extractfile(info)
                files[name] = file.read() if file else b""
    return Control(_parse_control(files.get("control", b""), path), files)


def _parse_control(text: bytes, path: Path) -> dict[str, str]:
    policy = email.policy.compat32
    message = email.parser.BytesParser(policy=policy).parsebytes(text, headersonly=True)
    fields = {key: str(value) for key, value in message.items()}
    for key in ("Package", "Version", "Architecture"):
        if not fields.get(key):
            raise BootunionError("deb-invalid", f"has no {key} field", subject=path.name)
    return fields


def members(path: Path, control: Control) -> Iterator[Member]:
    """The members of the package's image, streamed.

    Raises BootunionError deb-invalid for a damaged file, after what was before the damage.
    """
    argv = ["dpkg-deb", "--fsys-tarfile", str(path)]
    listed: list[str] = []
    digests: dict[str, str] = {}
    with run.popen(argv) as child:
        assert child.stdout is not None and child.stderr is not None
        try:
            with tarfile.open(fileobj=child.stdout, mode="r|", errors="surrogateescape") as archive:
                for info in archive:
                    yield _member(archive, info, listed, digests)
            child.stdout.read()
        except tarfile.TarError as error:
            text = f"its file part is damaged: {error}"
            raise BootunionError("deb-invalid", text, subject=path.name) from None
        words = child.stderr.read()
        if child.wait() != 0:
            what = f"reading {path.name}"
            raise run.failure(argv, child.returncode, words, what=what, code="deb-invalid")
    yield from _record(control, listed, digests)


def _member(
    archive: tarfile.TarFile, info: tarfile.TarInfo, listed: list[str], digests: dict[str, str]
) -> Member:
    original = info.name
    info.name = mergedusr.clean(info.name)
    listed.append("/" + info.name if info.name else "/.")
    name = info.name
    mergedusr.rewrite(info)
    # Who a file belongs to is a number in an image; names are the composed system's business.
    info.uname = info.gname = ""
    if not info.isreg():
        return info, None
    file = archive.extractfile(info)
    if file is None:
        raise BootunionError("deb-invalid", f"has no bytes for {original!r}")
    if name.startswith("etc/"):
        # Only configuration files' digests are needed, and those lie in /etc.
        data = file.read()
        digests["/" + name] = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return info, io.BytesIO(data)
    return info, file


def _record(control: Control, listed: list[str], digests: dict[str, str]) -> Iterator[Member]:
    info = f"{ADMIN}/info/{control.record}"
    paths = "\n".join(listed).encode("utf-8", "surrogateescape")
    yield _file(f"{info}.list", paths + b"\n" if paths else b"", 0o644)
    for name, data in sorted(control.files.items()):
        if name not in _NOT_KEPT:
            yield _file(f"{info}.{name}", data, 0o755 if name in _SCRIPTS else 0o644)
    stanza = _stanza(control, digests)
    yield _file(f"{STATUS_PARTS}/{control.record}", stanza, 0o644)


def _file(name: str, data: bytes, mode: int) -> Member:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), mode, reproducible.EPOCH
    return info, io.BytesIO(data)


def _stanza(control: Control, digests: dict[str, str]) -> bytes:
    """The package's paragraph of dpkg's status file (deb-control(5), dpkg's lib/dpkg/dump.c)."""
    lines = [f"Package: {control.fields['Package']}", "Status: install ok unpacked"]
    for key, value in control.fields.items():
        if key not in ("Package", "Description"):
            lines.append(f"{key}: {value}")
    conffiles = []
    for line in control.files.get("conffiles", b"").decode(errors="replace").splitlines():
        path = line.strip()
        # dpkg 1.20 and later: a flag such as remove-on-upgrade may stand before the path.
        if path.startswith("/") and path in digests:
            conffiles.append(f" {path} {digests[path]}")
    if conffiles:
        lines += ["Conffiles:", *conffiles]
    lines.append(f"Description: {control.fields.get('Description', '')}")
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
