"""Members: the files of a package as a stream of tar members, on their way into an image.

Each importer makes a stream of `(TarInfo, file or None)`; `record` checks it, fills in parent
directories and notes each path's contents entry while the bytes pass.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from typing import IO

from bootunion import contents
from bootunion.contents import Entry
from bootunion.errors import BootunionError

Member = tuple[tarfile.TarInfo, IO[bytes] | None]

XATTR_PREFIX = "SCHILY.xattr."  # how GNU tar, star and squashfs-tools name them in pax headers
_OVERLAY_MARKERS = ("trusted.overlay.", "user.overlay.")
_TYPES = {
    tarfile.REGTYPE: contents.FILE,
    tarfile.AREGTYPE: contents.FILE,
    tarfile.LNKTYPE: contents.FILE,
    tarfile.DIRTYPE: contents.DIRECTORY,
    tarfile.SYMTYPE: contents.SYMLINK,
    tarfile.CHRTYPE: contents.CHARACTER,
    tarfile.BLKTYPE: contents.BLOCK,
    tarfile.FIFOTYPE: contents.FIFO,
}
# The time of a directory that a package needs but does not list.
_PARENT_MODE = 0o755


class Recorder:
    """Passes members on to `write` and keeps their entries. One for each package."""

    def __init__(self, name: str, mtime: int, newest: int) -> None:
        self.newest = newest
        self._name = name
        self._mtime = mtime
        self.entries: dict[str, Entry] = {
            "": Entry("", contents.DIRECTORY, 0o755, 0, 0, mtime=mtime)
        }

    def pass_on(self, members: Iterable[Member], archive: tarfile.TarFile) -> None:
        """Write each member to `archive`, parents first, noting its entry."""
        for info, file in members:
            path = self._clean(info.name)
            if not path:
                continue  # sqfstar takes the root's attributes from its options
            info.name = path
            # squashfs-tools would do it, for SOURCE_DATE_EPOCH; so the entry tells the truth.
            info.mtime = min(int(info.mtime), self.newest)
            info.pax_headers = {
                key: value
                for key, value in info.pax_headers.items()
                if key.startswith(XATTR_PREFIX)
            }
            for parent in self._missing_parents(path):
                self._write(archive, parent, None)
            if info.isdir() and path in self.entries:
                self._refuse_type_change(path)
                continue
            self._write(archive, info, file)

    def _clean(self, name: str) -> str:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts or "\0" in name:
            raise self._wrong(name, "has a path that leads out of it")
        return "/".join(parts)

    def _wrong(self, path: str, what: str) -> BootunionError:
        return BootunionError("member-invalid", f"{path!r} {what}", subject=self._name)

    def _missing_parents(self, path: str) -> Iterator[tarfile.TarInfo]:
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            parent = "/".join(parts[:count])
            if parent not in self.entries:
                info = tarfile.TarInfo(parent)
                info.type, info.mode, info.mtime = tarfile.DIRTYPE, _PARENT_MODE, self._mtime
                yield info
            elif self.entries[parent].type != contents.DIRECTORY:
                raise self._wrong(path, f"lies below {parent!r}, which is no directory")

    def _refuse_type_change(self, path: str) -> None:
        if self.entries[path].type != contents.DIRECTORY:
            raise self._wrong(path, "is a directory and something else")

    def _write(
        self, archive: tarfile.TarFile, info: tarfile.TarInfo, file: IO[bytes] | None
    ) -> None:
        path = info.name
        known = self.entries.get(path)
        entry = self._entry(info)
        if known is not None:
            # The same symlink at /bin/x and /usr/bin/x becomes one path by merging /usr.
            if known.type == entry.type == contents.SYMLINK and known.target == entry.target:
                return
            raise self._wrong(path, "is in it twice")
        if info.isreg():
            hashed = _Hashed(file)
            archive.addfile(info, hashed)
            entry = entry._replace(digest=hashed.state.hexdigest())
        else:
            archive.addfile(info)
        self.entries[path] = entry

    def _entry(self, info: tarfile.TarInfo) -> Entry:
        kind = _TYPES.get(info.type)
        if kind is None:
            raise self._wrong(info.name, f"has the tar type {info.type!r}")
        if info.islnk():
            return self._hard_link(info)
        xattrs = []
        for key, value in sorted(info.pax_headers.items()):
            name = key.removeprefix(XATTR_PREFIX)
            if name.startswith(_OVERLAY_MARKERS):
                raise self._wrong(info.name, f"has the attribute {name}, which steers overlayfs")
            xattrs.append((name, value.encode("utf-8", "surrogateescape").hex()))
        device = (info.devmajor, info.devminor) if info.ischr() or info.isblk() else (0, 0)
        entry = Entry(
            info.name, kind, info.mode & 0o7777, info.uid, info.gid, int(info.mtime),
            size=info.size if info.isreg() else 0,
            target=info.linkname if info.issym() else "",
            device=device, xattrs=tuple(xattrs),
        )  # fmt: skip
        if entry.is_whiteout:
            raise self._wrong(info.name, "is a whiteout (a character device 0:0)")
        return entry

    def _hard_link(self, info: tarfile.TarInfo) -> Entry:
        info.linkname = self._clean(info.linkname)
        first = self.entries.get(info.linkname)
        if first is None or first.type == contents.DIRECTORY:
            raise self._wrong(info.name, f"is a hard link to {info.linkname!r}, which is not there")
        return first._replace(path=info.name, hard_link=first.hard_link or first.path)


class _Hashed:
    """A file that hashes what is read from it."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file
        self.state = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size) if self._file else b""
        self.state.update(data)
        return data
