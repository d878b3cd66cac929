"""Brings one package: the hash tree first, so that each block is checked as it comes.

What was fetched lies beside the packages as `.part-<root hash>`, at the places it will have in the
end, and every byte of it was checked or will be before it counts: a fetch that was cut off, by a
server, a signal or a power cut, goes on where it was. It is renamed only when it is whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from bootunion import dsse, manifest, package, trust, verity
from bootunion.errors import BootunionError
from bootunion.manifest import Manifest
from bootunion.package import Image
from bootunion.systemlist import Layer

from .. import reading, sealing
from ..store import Store, refusing_full_disk, unpack_contents
from .sources import Source, SourceError

PART = ".part-"
TRIES = 6
"""Times that a source is asked in a row without having given a byte."""

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 8.0
_SPAN = 1 << 20  # bytes checked at once: 256 blocks
_Result = TypeVar("_Result")
_Source = TypeVar("_Source")

Count = Callable[[int], None]
"""Called with the number of bytes that came."""


class WrongBytesError(SourceError):
    """A source gives other bytes than those asked for."""


class Job(NamedTuple):
    """A package to bring, and where from, in order."""

    layer: Layer
    sources: Sequence[Source]
    store: Store
    trusted: trust.Trust


def bring(job: Job, count: Count) -> Manifest:
    """Fetch a package unless it is there: manifest, contents, image.

    Raises BootunionError source-failed with what each source said, disk-full.
    """
    described = _bring(job, count)
    if described.image.fsverity:
        # Only now: while the part is locked it is open for writing, and cannot be sealed.
        sealing.seal(job.store.packages / described.file_name)
    return described


def _bring(job: Job, count: Count) -> Manifest:
    stem = job.layer.stem
    with _alone(job.store, job.layer.image.root_hash) as part:
        with contextlib.suppress(BootunionError, FileNotFoundError):
            described = reading.read_manifest(job.store, job.trusted, job.layer)
            if (job.store.packages / job.layer.file_name).stat().st_size == job.layer.image.size:
                part.unlink(missing_ok=True)
                return described
        described, envelope = ask(job.sources, stem, lambda source: _manifest(source, job))
        contents = ask(job.sources, stem, lambda source: _contents(source, described))
        count(len(contents))
        try:
            with refusing_full_disk(job.store.path):
                _image(job, part, count)
        except BootunionError as error:
            if error.code == "disk-full":
                part.unlink()  # what was fetched is worth less than room to breathe
            raise
        # Each block was checked as it came, or as it was found, and nobody else has the lock.
        job.store.add(part, described, envelope, contents)
        return described


@contextlib.contextmanager
def _alone(store: Store, root_hash: str) -> Iterator[Path]:
    """The part of a package, locked: whoever else fetches it waits, then finds it there."""
    part = store.packages / f"{PART}{root_hash}"
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(part, flags, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _is_at(fd, part):
                yield part
                return
        finally:
            os.close(fd)


def _is_at(fd: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`: who had the lock may have renamed it."""
    try:
        return path.stat().st_ino == os.fstat(fd).st_ino
    except FileNotFoundError:
        return False


def ask(sources: Sequence[Source], subject: str, get: Callable[[Source], _Result]) -> _Result:
    """What the first source gives that has it. Raises BootunionError source-failed."""
    said = []
    for source in sources:
        try:
            return patiently(source, get)
        except SourceError as error:
            said.append(f"{source.name} {error}")
    text = "; ".join(said) or "no source is known"
    raise BootunionError("source-failed", text, subject=subject)


def patiently(source: _Source, get: Callable[[_Source], _Result]) -> _Result:
    """Ask again, after a pause that grows, as long as the failure may pass. Raises SourceError."""
    left, pause = TRIES, _FIRST_PAUSE
    while True:
        try:
            return get(source)
        except CutOffError:
            left, pause = TRIES, _FIRST_PAUSE
        except SourceError as error:
            left -= 1
            if not error.passing or not left:
                raise
        # Many clients that were cut off at once must not come back at once.
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        pause = min(pause * 2, _LONGEST_PAUSE)


class CutOffError(SourceError):
    """It broke off, but something came: the tries count anew."""


def read_all(source: Source, path: str, limit: int) -> bytes:
    """A small file. Raises SourceError, also when it is larger than `limit` bytes."""
    data = bytearray()
    with source.open(path) as stream:
        if stream.size > limit:
            raise WrongBytesError(f"has {stream.size} bytes for {path}, at most {limit} are taken")
        for chunk in stream.chunks:
            data += chunk
            if len(data) > limit:
                raise WrongBytesError(f"has more than {limit} bytes for {path}")
        if len(data) < stream.size:
            raise SourceError("breaks off", passing=True)
    return bytes(data)


def _manifest(source: Source, job: Job) -> tuple[Manifest, bytes]:
    stem = job.layer.stem
    data = read_all(source, f"packages/{stem}{package.MANIFEST_SUFFIX}", manifest.MAX_SIZE)
    with _believing():
        envelope = dsse.decode(data, subject=stem)
        described = reading.open_manifest(envelope, job.trusted, stem)
    if not described.image.agrees(job.layer.image):
        raise WrongBytesError("has a manifest of another image")
    return described, data


def _contents(source: Source, described: Manifest) -> bytes:
    path = f"packages/{described.stem}{package.CONTENTS_SUFFIX}"
    data = read_all(source, path, described.contents.size)
    with _believing():
        unpack_contents(data, described)
    return data


@contextlib.contextmanager
def _believing() -> Iterator[None]:
    """What is not signed or does not fit is the source's fault: another one may have it right."""
    try:
        yield
    except BootunionError as error:
        raise WrongBytesError(f"gives what is refused: {error.message}") from None


def _image(job: Job, part: Path, count: Count) -> None:
    """Make `part` the whole image."""
    image = job.layer.image
    path = f"packages/{job.layer.file_name}"
    with part.open("r+b") as file:
        fetched = _Part(image, file.fileno())

        def get(source: Source) -> None:
            before = fetched.done
            try:
                fetched.fetch(source, path, count)
            except SourceError as error:
                if error.passing and fetched.done > before:
                    raise CutOffError(str(error), passing=True) from None
                raise

        ask(job.sources, job.layer.stem, get)
        os.fsync(file.fileno())


class _Part:
    """An image on its way to a file. `done` counts the data blocks that are there and right."""

    def __init__(self, image: Image, fd: int) -> None:
        self._image = image
        self._fd = fd
        self._leaves: bytes = b""
        self.done = 0
        os.ftruncate(fd, min(os.fstat(fd).st_size, image.size))
        self._take_up(os.pread(fd, image.size - image.hash_offset, image.hash_offset))

    def fetch(self, source: Source, path: str, count: Count) -> None:
        """Go on where it stands. Raises SourceError."""
        if not self._leaves:
            self._fetch_tree(source, path, count)
        self._fetch_data(source, path, count)

    def _fetch_tree(self, source: Source, path: str, count: Count) -> None:
        image = self._image
        with source.open(path, image.hash_offset, image.size) as stream:
            self._check_size(stream.size)
            if stream.offset == 0:  # no ranges here: everything in one go, checked when it is whole
                self._fetch_whole(stream.chunks, count)
                return
            tree = b"".join(_counted(stream.chunks, count))
        if len(tree) < image.size - image.hash_offset:
            raise SourceError("breaks off", passing=True)
        if not self._take_up(tree):
            raise WrongBytesError("has another hash tree than the list names")
        _write_at(self._fd, tree, image.hash_offset)

    def _take_up(self, tree: bytes) -> bool:
        """Believe a superblock and tree that hash to the root; see which data is there already."""
        image = self._image
        self._leaves = checked_leaves(image, tree)
        if self._leaves:
            while self.done < image.data_blocks:
                place = self.done * verity.BLOCK_SIZE
                span = os.pread(self._fd, min(_SPAN, image.hash_offset - place), place)
                good = self._good(span)
                self.done += good
                if good * verity.BLOCK_SIZE < len(span) or not span:
                    break
        return bool(self._leaves)

    def _good(self, span: bytes) -> int:
        """How many blocks from the beginning of `span`, which belongs at `done`, are right."""
        hash_block = verity.salted(bytes.fromhex(self._image.salt))
        size = verity.DIGEST_SIZE
        for number in range(len(span) // verity.BLOCK_SIZE):
            start = number * verity.BLOCK_SIZE
            digest = hash_block(span[start : start + verity.BLOCK_SIZE])
            at = (self.done + number) * size
            if digest != self._leaves[at : at + size]:
                return number
        return len(span) // verity.BLOCK_SIZE

    def _fetch_data(self, source: Source, path: str, count: Count) -> None:
        image = self._image
        start = self.done * verity.BLOCK_SIZE
        if start == image.hash_offset:
            return
        with source.open(path, start, image.hash_offset) as stream:
            self._check_size(stream.size)
            skip = start - stream.offset  # a server without ranges begins anew
            waiting = bytearray()
            try:
                for chunk in _counted(stream.chunks, count):
                    waiting += chunk[skip:] if skip < len(chunk) else b""
                    skip = max(skip - len(chunk), 0)
                    if len(waiting) >= _SPAN:
                        self._write(waiting)
            finally:
                self._write(waiting)
        if self.done < image.data_blocks:
            raise SourceError("breaks off", passing=True)

    def _write(self, waiting: bytearray) -> None:
        """Check and keep the whole blocks of `waiting`, and take them from it."""
        place = self.done * verity.BLOCK_SIZE
        room = self._image.hash_offset - place
        span = bytes(waiting[: min(len(waiting) - len(waiting) % verity.BLOCK_SIZE, room)])
        good = self._good(span)
        _write_at(self._fd, span[: good * verity.BLOCK_SIZE], place)
        self.done += good
        if good * verity.BLOCK_SIZE < len(span):
            raise WrongBytesError(f"has another block {self.done} than the list names")
        del waiting[: len(span)]

    def _fetch_whole(self, chunks: Iterator[bytes], count: Count) -> None:
        image, place = self._image, 0
        for chunk in _counted(chunks, count):
            piece = chunk[: image.size - place]
            _write_at(self._fd, piece, place)
            place += len(piece)
        if place < image.size:
            raise SourceError("breaks off, and takes nothing up again", passing=True)
        if not self._take_up(os.pread(self._fd, image.size - image.hash_offset, image.hash_offset)):
            raise WrongBytesError("has another hash tree than the list names")
        if self.done < image.data_blocks:
            raise WrongBytesError(f"has another block {self.done} than the list names")

    def _check_size(self, size: int) -> None:
        if size not in (-1, self._image.size):
            raise WrongBytesError(f"has {size} bytes, the list says {self._image.size}")


def _write_at(fd: int, data: bytes, place: int) -> None:
    """Write all of it: on a full disk the kernel first writes less than it was given."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, place)
        view, place = view[written:], place + written


def _counted(chunks: Iterator[bytes], count: Count) -> Iterator[bytes]:
    for chunk in chunks:
        count(len(chunk))
        yield chunk


def checked_leaves(image: Image, stored: bytes) -> bytes:
    """The digests of all data blocks, when superblock and tree are those of the root hash.

    `stored` is what stands behind the data. Gives b"" when it is not right. An image of one block
    has no tree: its only digest is the root hash.
    """
    salt, block = bytes.fromhex(image.salt), verity.BLOCK_SIZE
    if stored[:block] != verity.pack_superblock(salt, image.data_blocks):
        return b""
    hash_block = verity.salted(salt)
    wanted, at = bytes.fromhex(image.root_hash), block
    sizes = [image.data_blocks, *verity.level_sizes(image.data_blocks)]
    # The topmost level comes first in the file.
    for below, size in reversed(list(itertools.pairwise(sizes))):
        level = stored[at : at + size * block]
        if b"".join(hash_block(one) for one in verity.blocks_of([level])) != wanted:
            return b""
        wanted, rest = level[: below * verity.DIGEST_SIZE], level[below * verity.DIGEST_SIZE :]
        if any(rest):
            return b""
        at += size * block
    return wanted
