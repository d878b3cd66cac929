"""A wheel as a zip file. Nothing of it is believed that was not looked at.

The names are refused that unpack to another place than they show, what is no plain file or
directory, and what says another size than it has (APPNOTE.TXT, "ZIP file format").
"""

from __future__ import annotations

import contextlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NoReturn, cast

from bootunion.errors import BootunionError

from .record import Recorded

MOST_ENTRIES = 1 << 18
MOST_BYTES = 16 << 30
_HARMLESS = 256 << 20  # bytes: whatever unpacks to less than this is no bomb
_MOST_RATIO = 100  # of a whole wheel; the text of whole wheels packs to a tenth
_MOST_TEXT = 64 << 20  # of METADATA, RECORD, a script
_UTF8_NAMES = 0x800  # general purpose bit 11
_ENCRYPTED = 0x1
_UNIX = 3  # version made by: the upper half of the external attributes is a mode
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError,
    ValueError, OverflowError,
)  # fmt: skip


class Archive:
    """The files of a wheel by their names. Use it as a context manager, in one thread."""

    def __init__(self, path: Path) -> None:
        """Open and check the directory. Raises BootunionError wheel-invalid, file-missing."""
        self.name = path.name
        self.files: dict[str, zipfile.ZipInfo] = {}
        try:
            self._zip = zipfile.ZipFile(path)
        except OSError as error:
            text = f"cannot be read: {error.strerror}"
            raise BootunionError("file-missing", text, subject=str(path)) from None
        except _DAMAGED as error:
            self.refuse(f"is no zip file: {error}")
        try:
            self._check(path.stat().st_size)
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def refuse(self, what: str, code: str = "wheel-invalid") -> NoReturn:
        """Raise what is wrong with this wheel."""
        raise BootunionError(code, what, subject=self.name)

    def _check(self, size: int) -> None:
        infos = self._zip.infolist()
        if len(infos) > MOST_ENTRIES:
            self.refuse(f"has {len(infos)} entries; {MOST_ENTRIES} are taken")
        total = sum(info.file_size for info in infos)
        if total > MOST_BYTES or (total > _HARMLESS and total > size * _MOST_RATIO):
            self.refuse(f"says that its {size} bytes unpack to {total}")
        place = 0
        for info in sorted(infos, key=lambda one: one.header_offset):
            # Files that share their bytes are how a small file unpacks to a large one.
            if info.header_offset < place:
                self.refuse(f"has {shown(info.filename)} inside another entry")
            place = info.header_offset + 30 + info.compress_size  # its header: 30 bytes and more
            if place > size:
                self.refuse(f"is cut off in {shown(info.filename)}")
            if self._check_entry(info):
                self.files[info.filename] = info

    def _check_entry(self, info: zipfile.ZipInfo) -> bool:
        """Whether the entry is a file; else it is a directory."""
        name, what = info.filename, shown(info.filename)
        if info.orig_filename != name or "\\" in name:
            self.refuse(f"has {shown(info.orig_filename)}, whose name means another one")
        if not name.isascii() and not info.flag_bits & _UTF8_NAMES:
            self.refuse(f"has {what}, whose name is not marked as UTF-8")
        if not name.isprintable():
            self.refuse(f"has {what}, whose name cannot be printed")
        parts = name.removesuffix("/").split("/")
        if any(part in ("", ".", "..") for part in parts):
            self.refuse(f"has {what}, a path that leads elsewhere")
        if name in self.files:
            self.refuse(f"has {what} twice", "path-conflict")
        if info.flag_bits & _ENCRYPTED:
            self.refuse(f"has {what} encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            self.refuse(f"has {what} packed by method {info.compress_type}; wheels are deflated")
        kind = stat.S_IFMT(mode_of(info))
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            self.refuse(f"has {what}, which is no file and no directory")
        if kind == stat.S_IFDIR and not info.is_dir():
            self.refuse(f"has {what}, a directory whose name is a file's")
        return not info.is_dir()

    def read(self, name: str) -> bytes:
        """A small file, not checked against RECORD. Raises BootunionError wheel-invalid."""
        info = self.files.get(name)
        if info is None:
            self.refuse(f"has no {name}")
        if info.file_size > _MOST_TEXT:
            self.refuse(
                f"has {info.file_size} bytes of {shown(name)}, at most {_MOST_TEXT} are read"
            )
        with self.damages(name), self._zip.open(info) as file:
            return file.read(_MOST_TEXT)

    def begins_with(self, name: str, start: bytes) -> bool:
        """Whether a file's first bytes are `start`. Raises BootunionError wheel-invalid."""
        with self.damages(name), self._zip.open(self.files[name]) as file:
            return file.read(len(start)) == start

    def open(self, name: str, recorded: Recorded) -> IO[bytes]:
        """A file to be read once, whole: its last byte is given when it is what RECORD says.

        Reading raises BootunionError wheel-invalid.
        """
        return cast("IO[bytes]", _Checked(self, name, recorded))

    def start(self, name: str) -> IO[bytes]:
        """A file as the zip has it. Raises what zipfile raises."""
        return self._zip.open(self.files[name])

    @contextlib.contextmanager
    def damages(self, name: str) -> Iterator[None]:
        """Turn zipfile's exceptions into a refusal that names the file."""
        try:
            yield
        except _DAMAGED as error:
            self.refuse(f"is damaged in {shown(name)}: {error}")


class _Checked:
    """A file of a wheel that is opened at the first read and checked at the last one."""

    def __init__(self, archive: Archive, name: str, recorded: Recorded) -> None:
        self._archive, self._name, self._recorded = archive, name, recorded
        self._left = archive.files[name].file_size
        self._state = recorded.begin()
        self._file: IO[bytes] | None = None

    def read(self, size: int = -1) -> bytes:
        archive, name = self._archive, self._name
        with archive.damages(name):
            if self._file is None:
                self._file = archive.start(name)
            asked = self._left if size < 0 else min(size, self._left)
            data = self._file.read(asked)
            self._state.update(data)
            self._left -= len(data)
            short = len(data) < asked
            if self._left == 0 or short:
                # At the end zipfile looks whether there is more, and checks the CRC.
                more = self._file.read(1)
                self._file.close()
                if short or more:
                    archive.refuse(f"has {shown(name)} with another size than it says")
        if self._left == 0 and self._state.digest() != self._recorded.digest:
            archive.refuse(f"has {shown(name)}, which is not what its RECORD says")
        return data


def mode_of(info: zipfile.ZipInfo) -> int:
    """The Unix mode of an entry, 0 where it was made on a system that has none."""
    return info.external_attr >> 16 if info.create_system == _UNIX else 0


def shown(name: str) -> str:
    """A name for a message."""
    return ascii(name if len(name) <= 200 else f"{name[:200]}…")
