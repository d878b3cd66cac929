"""Members: the files of a package as a stream of tar members, on their way into an image.

Each importer makes a stream of `(TarInfo, file or None)`; `Recorder` checks it, adds missing
directories and notes each path's contents entry while the bytes pass.
"""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
from collections.abc import Collection, Iterable, Iterator
from typing import IO, NoReturn

from bootunion import contents
from bootunion.contents import Entry
from bootunion.errors import BootunionError
from bootunion.package import EROFS, SQUASHFS

from . import linking

Member = tuple[tarfile.TarInfo, IO[bytes] | None]

XATTR_PREFIX = "SCHILY.xattr."  # how GNU tar, star and squashfs-tools name them in pax headers
_OPAQUE = "trusted.overlay.opaque"
_OVERLAY_MARKERS = ("trusted.overlay.", "user.overlay.")
# squashfs knows no others (fs/squashfs/squashfs_fs.h); sqfstar would leave them out with a warning.
_XATTR_NAMES = ("user.", "trusted.", "security.")
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
_PARENT_MODE = 0o755
_SYMLINK_MODE = 0o777  # what squashfs and the kernel say of every symlink
_MAX_NAME = 255  # NAME_MAX; squashfs could hold 256 bytes, which nothing could open
_MAX_PATH = 4095  # PATH_MAX without its NUL
_MAX_XATTR = 65536  # XATTR_SIZE_MAX
# Bytes of all attributes of one file, where a format bounds them (`erofs` says why).
_MAX_XATTRS = {EROFS: 32000}
_MAX_ID = (1 << 32) - 2  # the kernel takes 2**32-1 for "no owner"
_MAX_TIME = (1 << 32) - 1  # squashfs has 32 bits, counted from 1970


class Recorder:
    """Passes members on to an archive and keeps their entries. One for each package.

    At the paths in `markers` the package may have what steers overlayfs: a whiteout, or the
    attribute of an opaque directory.

    The root directory is always 0755 and root's: dpkg, too, leaves / alone whatever a .deb says.
    A directory that stands twice keeps its first attributes, as with dpkg (lib `tarobject_extract`
    returns early for a directory that is there).
    """

    def __init__(
        self, name: str, mtime: int, markers: Collection[str] = (), image_format: str = SQUASHFS
    ) -> None:
        self._name = name
        self._format = image_format
        self._mtime = mtime
        self._markers = markers
        self._implied: set[str] = set()
        self.entries: dict[str, Entry] = {"": self._directory("")}

    def pass_on(self, members: Iterable[Member], archive: tarfile.TarFile) -> None:
        """Write each member to `archive`, noting its entry.

        Raises BootunionError member-invalid, overlay-marker, path-conflict, and what `members`
        raises.
        """
        for info, file in members:
            info.name = self._clean(info.name)
            if not info.name and info.isdir():
                continue
            if not info.name:
                self._refuse("/", "is no directory")
            # The writer repeats in pax headers what does not fit the plain ones; what came from
            # the source's headers and is no attribute would contradict a rewritten name.
            info.pax_headers = {
                key: value
                for key, value in info.pax_headers.items()
                if key.startswith(XATTR_PREFIX)
            }
            info.mtime = int(info.mtime)
            # Who owns a file is a number in an image; names are the composed system's business.
            info.uname = info.gname = ""
            self._imply_parents(info.name)
            self._write(archive, info, file)
        # At the end, because a directory may come after what is in it.
        for path in sorted(self._implied):
            parent = tarfile.TarInfo(path)
            parent.type, parent.mode, parent.mtime = tarfile.DIRTYPE, _PARENT_MODE, self._mtime
            archive.addfile(parent)

    def _directory(self, path: str) -> Entry:
        return Entry(path, contents.DIRECTORY, _PARENT_MODE, 0, 0, mtime=self._mtime)

    def _clean(self, name: str) -> str:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            self._refuse(name, "has a path that leads out of the package")
        if "\0" in name:
            self._refuse(name, "has a NUL in its name")
        if any(len(_bytes(part)) > _MAX_NAME for part in parts):
            self._refuse(name, f"has a name of more than {_MAX_NAME} bytes")
        path = "/".join(parts)
        if len(_bytes(path)) > _MAX_PATH:
            self._refuse(path, f"has a path of more than {_MAX_PATH} bytes")
        return path

    def _refuse(self, path: str, what: str, code: str = "member-invalid") -> NoReturn:
        shown = path if len(path) <= 200 else f"{path[:200]}…"
        raise BootunionError(code, f"{shown!r} {what}", subject=self._name)

    def _imply_parents(self, path: str) -> None:
        for parent in _parents(path):
            known = self.entries.get(parent)
            if known is None:
                self.entries[parent] = self._directory(parent)
                self._implied.add(parent)
            elif known.type != contents.DIRECTORY:
                # Through a symlink this could be any other place in the root.
                text = f"lies below {parent!r}, which is no directory"
                self._refuse(path, text, "path-conflict")

    def _write(
        self, archive: tarfile.TarFile, info: tarfile.TarInfo, file: IO[bytes] | None
    ) -> None:
        path = info.name
        entry = self._entry(info)
        known = self.entries.get(path)
        if path in self._implied and entry.type == contents.DIRECTORY:
            self._implied.remove(path)
        elif known is not None:
            # Merging /usr makes one path of /bin/x and /usr/bin/x.
            both = entry.type == known.type
            if both and (entry.type == contents.DIRECTORY or _same_symlink(known, entry)):
                return
            self._refuse(path, "is in it twice (in /usr, too, perhaps)", "path-conflict")
        if info.isreg():
            hashed = _Hashed(file, linking.Reader(path, entry.mode))
            try:
                archive.addfile(info, hashed)
            except OSError as error:
                if not hashed.ended:
                    raise
                self._refuse(path, f"became shorter while it was read ({error})")
            entry = entry._replace(digest=hashed.state.hexdigest(), linking=hashed.reader.linking())
        else:
            info.size = 0
            if info.issym() and _loses_its_front(info.linkname):
                self._write_symlink(archive, info)
            else:
                archive.addfile(info)
        self.entries[path] = entry

    def _write_symlink(self, archive: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        """Write a symlink in GNU tar's way, which has no attributes."""
        if info.pax_headers:
            self._refuse(info.name, "is a symlink with attributes and a target that does not fit")
        usual, archive.format = archive.format, tarfile.GNU_FORMAT
        try:
            archive.addfile(info)
        finally:
            archive.format = usual

    def _entry(self, info: tarfile.TarInfo) -> Entry:
        kind = _TYPES.get(info.type)
        if kind is None:
            self._refuse(info.name, f"has the tar type {info.type!r}")
        if info.islnk():
            return self._hard_link(info)
        self._check_numbers(info)
        entry = Entry(
            info.name, kind, info.mode & 0o7777, info.uid, info.gid, int(info.mtime),
            size=info.size if info.isreg() else 0,
            device=(info.devmajor, info.devminor) if info.ischr() or info.isblk() else (0, 0),
            xattrs=tuple(self._xattrs(info)),
        )  # fmt: skip
        if info.issym():
            if not info.linkname or len(_bytes(info.linkname)) > _MAX_PATH:
                self._refuse(info.name, f"links to a path of 0 or more than {_MAX_PATH} bytes")
            if "\0" in info.linkname:
                self._refuse(info.name, "links to a path with a NUL")
            entry = entry._replace(mode=_SYMLINK_MODE, target=info.linkname)
        if entry.is_whiteout and info.name not in self._markers:
            text = "is a whiteout (a character device 0:0), which steers overlayfs"
            self._refuse(info.name, text, "overlay-marker")
        return entry

    def _check_numbers(self, info: tarfile.TarInfo) -> None:
        """Refuse what an image has no room for; sqfstar would cut it silently."""
        bounds = {
            "owner": (info.uid, _MAX_ID),
            "group": (info.gid, _MAX_ID),
            "time": (int(info.mtime), _MAX_TIME),
        }
        if info.ischr() or info.isblk():
            bounds["major device number"] = (info.devmajor, (1 << 12) - 1)
            bounds["minor device number"] = (info.devminor, (1 << 20) - 1)
        for what, (value, most) in bounds.items():
            if not 0 <= value <= most:
                self._refuse(info.name, f"has the {what} {value}; an image holds 0 to {most}")

    def _xattrs(self, info: tarfile.TarInfo) -> Iterator[tuple[str, str]]:
        size, most = 0, _MAX_XATTRS.get(self._format)
        for key, value in sorted(info.pax_headers.items()):
            name = key.removeprefix(XATTR_PREFIX)
            allowed = name == _OPAQUE and info.name in self._markers
            if name.startswith(_OVERLAY_MARKERS) and not allowed:
                text = f"has the attribute {name}, which steers overlayfs"
                self._refuse(info.name, text, "overlay-marker")
            if not name.startswith(_XATTR_NAMES):
                self._refuse(info.name, f"has the attribute {name!r}, which no image holds")
            # A pax header ends a keyword at "=" and is UTF-8.
            encodable = _bytes(name) == name.encode("utf-8", "replace") and "=" not in name
            raw = _bytes(value)
            if not encodable or len(_bytes(name)) > _MAX_NAME or len(raw) > _MAX_XATTR:
                self._refuse(info.name, f"has the attribute {name[:80]!r}, which does not fit")
            size += len(_bytes(name)) + len(raw) + 8  # with its header, rounded up
            if most is not None and size > most:
                what = f"has more than {most} bytes of attributes; {self._format} cannot hold them"
                self._refuse(info.name, what)
            yield name, raw.hex()

    def _hard_link(self, info: tarfile.TarInfo) -> Entry:
        info.linkname = self._clean(info.linkname)
        first = self.entries.get(info.linkname)
        if first is None or first.type == contents.DIRECTORY:
            self._refuse(
                info.name, f"is a hard link to {info.linkname!r}, which does not come before it"
            )
        return first._replace(path=info.name, hard_link=first.hard_link or first.path)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _parents(path: str) -> Iterator[str]:
    end = path.find("/")
    while end >= 0:
        yield path[:end]
        end = path.find("/", end + 1)


def _same_symlink(one: Entry, other: Entry) -> bool:
    return one.type == contents.SYMLINK and one.target == other.target


def _loses_its_front(target: str) -> bool:
    # What the plain header has no room for goes into a pax header, and of a target in one of those
    # sqfstar (4.5.1) takes a leading "/", "./" or "../" off.
    return target.startswith(("/", ".")) and (len(_bytes(target)) > 100 or not target.isascii())


class _Hashed:
    """A file that hashes what is read from it, and shows it to a reader."""

    def __init__(self, file: IO[bytes] | None, reader: linking.Reader) -> None:
        self._file = file
        self.reader = reader
        self.state = hashlib.sha256()
        self.ended = False

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size) if self._file else b""
        self.ended = len(data) < size
        self.state.update(data)
        self.reader.update(data)
        return data


@contextlib.contextmanager
def closing(members: Iterable[Member]) -> Iterator[Iterable[Member]]:
    """`members`, closed at once when the block is left: a generator may hold a running program."""
    try:
        yield members
    finally:
        close = getattr(members, "close", None)
        if close is not None:
            close()
