"""Reads a .deb and gives its members: its files on a merged /usr, and dpkg's record of it.

dpkg's own tools open the archive. What dpkg would have written on unpacking goes into the image,
so that a union of packages has all of dpkg's info files and composing only joins the rest:

- `/var/lib/dpkg/info/<package>.*`: control files, the `.list` of paths as the .deb has them (a
  stock merged-/usr Debian records `/bin/ls`, too), and `.md5sums`, made when the .deb has none;
- `/var/lib/dpkg/status.d/<package>`: its stanza of the status file, state `unpacked`.

What dpkg would refuse is refused. tests/test_deb.py compares with `dpkg --unpack`.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, Protocol, cast

from bootunion.errors import BootunionError

from . import ar, mergedusr, reproducible, run
from . import control as controlfile
from .members import Member
from .packaging import Description

ADMIN = "var/lib/dpkg"
STATUS_PARTS = f"{ADMIN}/status.d"
_MAX_CONTROL_FILE = 64 << 20
# `control` goes into the status file, `list` is dpkg's to make.
_NOT_KEPT = ("control", "list")


class Digest(Protocol):
    """A digest that bytes are added to, as hashlib makes them."""

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class ControlFile(NamedTuple):
    """A file of a .deb's control part."""

    data: bytes
    mode: int


class Control(NamedTuple):
    """A .deb's control files by name, and the fields of `control` in their order."""

    fields: dict[str, str]
    files: dict[str, ControlFile]

    @property
    def record(self) -> str:
        """The name that dpkg files the package under."""
        name = self.fields["Package"]
        # dpkg qualifies the names of packages that may be installed for several architectures.
        if self.fields.get("Multi-Arch", "").lower() == "same":
            return f"{name}:{self.fields['Architecture']}"
        return name

    @property
    def conffiles(self) -> dict[str, str]:
        """The paths of its conffiles, each with its flag. Raises ValueError."""
        file = self.files.get("conffiles")
        return controlfile.conffiles(file.data) if file else {}


def describe(control: Control) -> Description:
    """What the manifest says of this .deb."""
    fields = control.fields
    return Description(
        fields["Package"],
        fields["Version"],
        fields["Architecture"],
        _readable(fields.get("Description", "").partition("\n")[0])[:1024],
        _relations(fields, "Pre-Depends") + _relations(fields, "Depends"),
        _relations(fields, "Provides"),
    )


def _relations(fields: dict[str, str], key: str) -> tuple[str, ...]:
    parts = _readable(fields.get(key, "")).split(",")
    return tuple(" ".join(part.split()) for part in parts if part.strip())


def _readable(text: str) -> str:
    """Text for a manifest: what was not UTF-8 is marked as such."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def read_control(path: Path) -> Control:
    """The control part of a .deb. Raises BootunionError file-missing, deb-invalid, name-invalid."""
    ar.check(path)
    out = run.run(
        ["dpkg-deb", "--ctrl-tarfile", str(path)],
        what=f"reading {path.name}",
        check_code="deb-invalid",
    ).stdout
    try:
        files = _control_files(out)
        control = Control(controlfile.parse(files["control"].data), files)
        _ = control.conffiles  # read now, because what follows relies on them
    except (tarfile.TarError, ValueError, EOFError, OverflowError) as error:
        text = f"its control part is damaged: {error}"
        raise BootunionError("deb-invalid", text, subject=path.name) from None
    except KeyError:
        raise BootunionError("deb-invalid", "has no control file", subject=path.name) from None
    for key in ("Package", "Version", "Architecture"):
        if not control.fields.get(key):
            raise BootunionError("deb-invalid", f"has no {key} field", subject=path.name)
    describe(control).check()
    return control


def _control_files(tar: bytes) -> dict[str, ControlFile]:
    files = {}
    with tarfile.open(
        fileobj=io.BytesIO(tar), mode="r:", encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for info in archive:
            name = mergedusr.clean(info.name)
            if not name and info.isdir():
                continue
            file = archive.extractfile(info) if info.isreg() else None
            if file is None or "/" in name or info.size > _MAX_CONTROL_FILE:
                raise ValueError(f"{info.name!r} is no control file")
            files[name] = ControlFile(file.read(), info.mode & 0o7777)
        # tarfile takes a broken header in the middle for the end.
        if tar[archive.offset :].strip(b"\0"):
            raise ValueError("a header that is none")
    return files


def members(path: Path, control: Control) -> Iterator[Member]:
    """The members of the package's image, streamed.

    Reading them raises BootunionError deb-invalid for a damaged file.
    """
    argv = ["dpkg-deb", "--fsys-tarfile", str(path)]
    record = _Record(control)
    with run.popen(argv) as child:
        assert child.stdout is not None and child.stderr is not None
        stdout, stderr = child.stdout, child.stderr

        def damaged(error: object) -> BootunionError:
            """The refusal, in dpkg-deb's words where it has any."""
            while stdout.read(1 << 20):
                pass  # so that it ends of itself and its words are not about a broken pipe
            words = stderr.read()
            if child.wait() != 0:
                what = f"reading {path.name}"
                return run.failure(argv, child.returncode, words, what=what, code="deb-invalid")
            text = f"its file part is damaged: {error}"
            return BootunionError("deb-invalid", text, subject=path.name)

        watched = _Watched(stdout)
        try:
            with tarfile.open(
                fileobj=cast("IO[bytes]", watched), mode="r|",
                encoding="utf-8", errors="surrogateescape",
            ) as archive:  # fmt: skip
                for info in archive:
                    yield record.member(archive, info, damaged)
                end = archive.offset
            watched.drain()
        except (tarfile.TarError, ValueError, OverflowError) as error:
            raise damaged(error) from None
        # tarfile takes a broken header in the middle for the end.
        if watched.last > end:
            raise damaged("a header that is none")
        if child.wait() != 0:
            raise damaged("")
    yield from record.files()


class _Record:
    """What dpkg would keep about the package, gathered while its members pass."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._conffiles = control.conffiles
        self._all = "md5sums" not in control.files
        self._listed: list[str] = []
        self._symlinks: list[str] = []
        self._states: dict[str, Digest] = {}

    def member(
        self, archive: tarfile.TarFile, info: tarfile.TarInfo,
        damaged: Callable[[object], BootunionError],
    ) -> Member:  # fmt: skip
        """A member of the .deb, rewritten."""
        self._check_name(info)
        name = info.name = mergedusr.clean(info.name)
        # dpkg makes, and lists, the symlinks last.
        (self._symlinks if info.issym() else self._listed).append("/" + (name or "."))
        original_target = mergedusr.clean(info.linkname)
        mergedusr.rewrite(info)
        if info.islnk() and "/" + original_target in self._states:
            self._states["/" + name] = self._states["/" + original_target]
        if not info.isreg():
            return info, None
        file = archive.extractfile(info)
        if file is None:
            raise damaged(f"{name!r} has no bytes")
        state = None
        if self._all or "/" + name in self._conffiles:
            # MD5 is what dpkg records.
            state = self._states["/" + name] = hashlib.md5(usedforsecurity=False)
        return info, cast("IO[bytes]", _Payload(file, damaged, state))

    def _check_name(self, info: tarfile.TarInfo) -> None:
        """Refuse what this module would lose; `members` sees to everything else."""
        package = self._control.fields["Package"]
        for path in (info.name, info.linkname if info.islnk() else ""):
            if path.startswith("/"):
                text = f"{path[:200]!r} is an absolute name"
                raise BootunionError("member-invalid", text, subject=package)
            if "\n" in path:
                text = f"{path[:200]!r} has a newline, which dpkg's lists cannot hold"
                raise BootunionError("member-invalid", text, subject=package)

    def files(self) -> Iterator[Member]:
        """dpkg's files about the package."""
        control = self._control
        listed = [*self._listed, *self._symlinks]
        digests = {path: state.hexdigest() for path, state in self._states.items()}
        info = f"{ADMIN}/info/{control.record}"
        kept = {f"{info}.list": "".join(f"{path}\n" for path in listed)}
        if self._all:
            kept[f"{info}.md5sums"] = "".join(
                f"{digests[path]}  {path[1:]}\n" for path in listed if path in digests
            )
        for name, text in kept.items():
            yield _file(name, text.encode("utf-8", "surrogateescape"), 0o644)
        for name, file in sorted(control.files.items()):
            # dpkg passes over control files with a dot in their names.
            if name not in _NOT_KEPT and "." not in name:
                yield _file(f"{info}.{name}", file.data, file.mode)
        stanza = controlfile.stanza(control.fields, self._conffiles, digests)
        yield _file(f"{STATUS_PARTS}/{control.record}", stanza, 0o644)


def _file(name: str, data: bytes, mode: int) -> Member:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), mode, reproducible.EPOCH
    return info, io.BytesIO(data)


class _Payload:
    """A member's bytes; damage found while reading them is the .deb's."""

    def __init__(
        self, file: IO[bytes], damaged: Callable[[object], BootunionError], state: Digest | None
    ) -> None:
        self._file = file
        self._damaged = damaged
        self._state = state

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._file.read(size)
        except (tarfile.TarError, OSError) as error:
            raise self._damaged(error) from None
        if len(data) < size:  # as with a size below zero
            raise self._damaged("it ends too early")
        if self._state is not None:
            self._state.update(data)
        return data


class _Watched:
    """A stream that knows where the last byte that was not zero stood."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._count = 0
        self.last = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        used = len(data.rstrip(b"\0"))
        if used:
            self.last = self._count + used
        self._count += len(data)
        return data

    def drain(self) -> None:
        """Read to the end."""
        while self.read(1 << 20):
            pass
