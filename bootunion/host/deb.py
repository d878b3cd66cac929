"""Reads a .deb and gives its members: its files on a merged /usr, and dpkg's record of it.

dpkg's own tools open the archive. What dpkg would have written on unpacking goes into the image,
so that a union of packages has all of dpkg's info files and composing only joins the rest:

- `/var/lib/dpkg/info/<package>.*`: control files, the `.list` of paths as the .deb has them (a
  stock merged-/usr Debian records `/bin/ls`, too), and `.md5sums`, made when the .deb has none;
- `/var/lib/dpkg/status.d/<package>`: its stanza of the status file, state `unpacked`.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, Protocol, cast

from bootunion.errors import BootunionError

from . import control as controlfile
from . import mergedusr, reproducible, run
from .members import Member
from .packaging import Description

ADMIN = "var/lib/dpkg"
STATUS_PARTS = f"{ADMIN}/status.d"
_MAX_CONTROL_FILE = 64 << 20
_SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config")
# `control` goes into the status file, `list` is dpkg's to make.
_NOT_KEPT = ("control", "list")


class Digest(Protocol):
    """A digest that bytes are added to, as hashlib makes them."""

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


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
    try:
        with tarfile.open(
            fileobj=io.BytesIO(out), encoding="utf-8", errors="surrogateescape"
        ) as archive:
            for info in archive:
                name = mergedusr.clean(info.name)
                if info.isreg() and "/" not in name and info.size <= _MAX_CONTROL_FILE:
                    file = archive.extractfile(info)
                    files[name] = file.read() if file else b""
        fields = controlfile.parse(files.get("control", b""))
    except (tarfile.TarError, ValueError, EOFError) as error:
        text = f"its control part is damaged: {error}"
        raise BootunionError("deb-invalid", text, subject=path.name) from None
    for key in ("Package", "Version", "Architecture"):
        if not fields.get(key):
            raise BootunionError("deb-invalid", f"has no {key} field", subject=path.name)
    return Control(fields, files)


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
        self._conffiles = controlfile.conffiles(control.files.get("conffiles", b""))
        self._all = "md5sums" not in control.files
        self._listed: list[str] = []
        self._states: dict[str, Digest] = {}

    def member(
        self, archive: tarfile.TarFile, info: tarfile.TarInfo,
        damaged: Callable[[object], BootunionError],
    ) -> Member:  # fmt: skip
        """A member of the .deb, rewritten."""
        name = mergedusr.clean(info.name)
        info.name = name
        self._listed.append("/" + name if name else "/.")
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

    def files(self) -> Iterator[Member]:
        """dpkg's files about the package."""
        control = self._control
        digests = {path: state.hexdigest() for path, state in self._states.items()}
        info = f"{ADMIN}/info/{control.record}"
        kept = {f"{info}.list": "".join(f"{path}\n" for path in self._listed)}
        if self._all:
            kept[f"{info}.md5sums"] = "".join(
                f"{digests[path]}  {path[1:]}\n" for path in self._listed if path in digests
            )
        for name, text in kept.items():
            yield _file(name, text.encode("utf-8", "surrogateescape"), 0o644)
        for name, data in sorted(control.files.items()):
            # dpkg passes over control files with a dot in their names.
            if name not in _NOT_KEPT and "." not in name:
                yield _file(f"{info}.{name}", data, 0o755 if name in _SCRIPTS else 0o644)
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
        if len(data) < size:
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
