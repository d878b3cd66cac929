"""Store keeping: packages, manifests, contents and lists, each written old-or-new.

A file is written aside in its own directory, synced, renamed, and the directory synced. A package's
manifest is renamed last, so a package that has a manifest is complete.

What a running process has aside is locked. Making and locking it happens under a shared lock of its
directory and clearing away under an exclusive one, so nobody sees it unlocked: what is not locked
was left by a process that was killed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from bootunion import contents, decoding, dsse, manifest, package, systemlist
from bootunion.contents import Entry
from bootunion.errors import BootunionError
from bootunion.initrd.store import Store as Reader
from bootunion.manifest import Manifest
from bootunion.systemlist import Layer

from . import reproducible, sealing

_ASIDE = ".new-"
_MAX_CONTENTS_TEXT = 1 << 30


@contextlib.contextmanager
def refusing_full_disk(where: Path) -> Iterator[None]:
    """Turn the kernel's "no space left" into one sentence with a code."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text = "no space left to write to"
            raise BootunionError("disk-full", text, subject=str(where)) from error
        raise


def sync_directory(directory: Path) -> None:
    """fsync a directory, so that the renames in it survive a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that its old or its new content is there at any moment."""
    with refusing_full_disk(path.parent):
        aside = _aside(path.parent)
        try:
            with _locked(path.parent, fcntl.LOCK_SH):
                fd = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                file = os.fdopen(fd, "wb")
                fcntl.flock(fd, fcntl.LOCK_EX)
            with file:
                file.write(data)
                file.flush()
                os.fchmod(fd, mode)
                os.fsync(fd)
                aside.rename(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def _aside(directory: Path) -> Path:
    """A name that nobody has: known before there is a file of it, so that it can be removed."""
    return directory / f"{_ASIDE}{os.urandom(16).hex()}"


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    """Hold a lock on a file or directory; the kernel lets go of it when this process dies."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, how)
        yield
    finally:
        os.close(fd)


def _remove(path: Path) -> None:
    """Remove a file or directory, also when a signal's exception comes in the middle of it."""
    try:
        _remove_once(path)
    except BaseException:
        _remove_once(path)
        raise


def _remove_once(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        import shutil  # noqa: PLC0415 - seldom, and it brings five kinds of archives

        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _clear(directory: Path) -> None:
    """Remove what a killed process left in a directory."""
    with _locked(directory, fcntl.LOCK_EX):
        for aside in directory.glob(f"{_ASIDE}*"):
            # Locked by a living process, or another user's: not ours to remove.
            with contextlib.suppress(OSError), _locked(aside, fcntl.LOCK_EX | fcntl.LOCK_NB):
                _remove(aside)


class Store:
    """A store that this host keeps."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.packages = path / "packages"
        self.lists = path / "lists"

    def create(self) -> Store:
        """Make the directories that are missing, and clear away what a killed process left."""
        with refusing_full_disk(self.path):
            for directory in (self.packages, self.lists):
                directory.mkdir(parents=True, exist_ok=True)
            for directory in (self.packages, self.lists, *self.lists.glob("*/")):
                _clear(directory)
        return self

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """A directory beside the packages, on the same file system; gone afterwards."""
        with refusing_full_disk(self.path), contextlib.ExitStack() as stack:
            with _locked(self.packages, fcntl.LOCK_SH):
                path = _aside(self.packages)
                stack.callback(_remove, path)
                path.mkdir(0o700)
                stack.enter_context(_locked(path, fcntl.LOCK_EX))
            yield path

    def add(self, image: Path, described: Manifest, envelope: bytes, entries: bytes) -> None:
        """Put a finished package in place; `image` is moved (it lies in a `workspace`).

        The manifest comes last, after the others are on the disk under their names; when it does
        not come to that, they are taken away again.
        """
        stem = self.packages / described.stem
        final = self.packages / described.file_name
        listing = stem.with_name(stem.name + package.CONTENTS_SUFFIX)
        manifest_file = stem.with_name(stem.name + package.MANIFEST_SUFFIX)
        new = [path for path in (manifest_file, listing, final) if not path.exists()]
        try:
            write_atomic(listing, entries)
            fd = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fchmod(fd, 0o644)
                os.fsync(fd)
            finally:
                os.close(fd)
            if described.image.fsverity:
                sealing.seal(image)
            image.rename(final)
            sync_directory(self.packages)
            write_atomic(manifest_file, envelope)
        except BaseException:
            # The manifest first: one that is there says that the package is complete.
            for path in new:
                path.unlink(missing_ok=True)
            raise

    def remove(self, layer: Layer) -> None:
        """Take a package away: its manifest first, for what has one is complete."""
        for suffix in (package.MANIFEST_SUFFIX, package.CONTENTS_SUFFIX, layer.image.suffix):
            (self.packages / (layer.stem + suffix)).unlink(missing_ok=True)

    def stems(self) -> list[str]:
        """The stems of all packages that have a manifest, sorted."""
        suffix = package.MANIFEST_SUFFIX
        found = (
            path.name.removesuffix(suffix)
            for path in self.packages.glob(f"*{suffix}")
            if not path.name.startswith(".")
        )
        return sorted(found)

    def envelope(self, stem: str) -> dsse.Envelope:
        """A package's manifest as stored, not checked yet."""
        with Reader(str(self.path)) as reader:
            name = stem + package.MANIFEST_SUFFIX
            data = reader.read("packages", name, limit=manifest.MAX_SIZE)
        return dsse.decode(data, subject=name)

    def entries(self, described: Manifest) -> list[Entry]:
        """The contents of a package whose manifest was checked.

        Raises BootunionError contents-mismatch or contents-invalid.
        """
        name = described.stem + package.CONTENTS_SUFFIX
        with Reader(str(self.path)) as reader:
            data = reader.read("packages", name, limit=described.contents.size)
        return unpack_contents(data, described)

    def generations(self, list_name: str) -> list[int]:
        """The generations of a list that are stored, ascending."""
        names = (path.stem for path in (self.lists / list_name).glob("*.json"))
        return sorted(int(name) for name in names if name.isdigit())

    def next_generation(self, list_name: str) -> int:
        """The number that the next generation of a list gets."""
        return max(self.generations(list_name), default=0) + 1

    def list_bytes(self, list_name: str, generation: int = 0) -> tuple[bytes, int]:
        """A stored list, not checked yet, and its generation (0 asks for the current one)."""
        with Reader(str(self.path)) as reader:
            wanted = generation or reader.current(list_name)
            path = ("lists", list_name, f"{wanted}.json")
            return reader.read(*path, limit=systemlist.MAX_SIZE), wanted

    def add_list(self, list_name: str, generation: int, envelope: bytes) -> Path:
        """Store a list and make it the current one."""
        directory = self.lists / list_name
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{generation}.json"
        if path.exists() and path.read_bytes() != envelope:
            text = "this generation is stored already; generations only grow"
            raise BootunionError("exists", text, subject=str(path))
        write_atomic(path, envelope)
        write_atomic(directory / "current", f"{generation}\n".encode())
        sync_directory(self.lists)
        return path


def pack_contents(entries: list[Entry]) -> bytes:
    """A contents file: compressed JSON lines, the same bytes for the same entries."""
    import zstandard  # noqa: PLC0415 - who opens packages only needs no contents

    compressor = zstandard.ZstdCompressor(level=reproducible.ZSTD_LEVEL, threads=0)
    return compressor.compress(contents.encode(entries))


def unpack_contents(data: bytes, described: Manifest) -> list[Entry]:
    """The entries of a contents file, checked against the manifest before it is unpacked."""
    name = described.stem + package.CONTENTS_SUFFIX
    expected = (described.contents.size, described.contents.sha256)
    if (len(data), hashlib.sha256(data).hexdigest()) != expected:
        text = "differs from what the signed manifest says"
        raise BootunionError("contents-mismatch", text, subject=name)
    import zstandard  # noqa: PLC0415

    try:
        text_size = zstandard.frame_content_size(data)
        if not 0 <= text_size <= _MAX_CONTENTS_TEXT:
            raise zstandard.ZstdError(f"unpacks to {text_size} bytes")
        lines = zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise BootunionError("contents-invalid", str(error), subject=name) from None
    return decoding.decode(lines, subject=name)
