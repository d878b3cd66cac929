"""Writes a package: members → image → hash tree → manifest → store."""

from __future__ import annotations

import functools
import hashlib
import os
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from bootunion import manifest, package, verity
from bootunion.contents import Entry
from bootunion.errors import BootunionError
from bootunion.manifest import Contents, Manifest, Source
from bootunion.package import EROFS, EROFS_UNCOMPRESSED, EROFS_ZSTD, SQUASHFS, Image

from . import erofs, reproducible, sealing, squashfs
from .members import Member, Recorder, closing
from .store import Store, pack_contents

Sign = Callable[[bytes, str], bytes]
"""Makes the DSSE envelope of (payload, payload type)."""

_CHUNK = 1 << 20
_PACK: dict[str, Callable[..., None]] = {
    SQUASHFS: squashfs.pack,
    EROFS: functools.partial(erofs.pack, how=reproducible.EROFS_LZ4),
    EROFS_ZSTD: functools.partial(erofs.pack, how=reproducible.EROFS_ZSTD),
    EROFS_UNCOMPRESSED: functools.partial(erofs.pack, how=reproducible.EROFS_PLAIN),
}


class Description(NamedTuple):
    """What a manifest says of a package beside what its image tells."""

    name: str
    version: str
    architecture: str
    description: str = ""
    depends: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()

    def check(self) -> Description:
        """Itself, when the names are ones a package may have (else name-invalid)."""
        package.check_name(self.name)
        package.check_version(self.version, self.name)
        package.check_architecture(self.architecture, self.name)
        return self


def write_package(
    store: Store, members: Iterable[Member], about: Description, source: Source | None,
    sign: Sign, *, kind: str = "directory", processors: int = 0, markers: Collection[str] = (),
    image_format: str = SQUASHFS,
) -> Manifest:  # fmt: skip
    """Make a package of `members` and put it into the store.

    Without a `source` it is the tar stream itself, called `kind`. `processors` bounds the threads
    that compress (0: all); at the paths in `markers` it may steer overlayfs; `image_format` is one
    of `package.IMAGE_FORMATS`. Raises BootunionError name-invalid, member-invalid, overlay-marker,
    path-conflict, disk-full, program-failed, program-missing; then the store is as it was.
    """
    about.check()
    with store.workspace() as workspace, closing(members):
        image_file = workspace / "image"
        file_system = package.file_system(image_format)
        recorder = Recorder(about.name, reproducible.EPOCH, markers, file_system)
        stream = hashlib.sha256()

        def feed(pipe: IO[bytes]) -> None:
            _pass_on(members, recorder, _Sink(pipe, None if source else stream))

        pack = _PACK[image_format]
        pack(image_file, feed, what=f"packing {about.name}", processors=processors)
        image = append_tree(image_file, file_system)
        packed = pack_contents(list(recorder.entries.values()))
        made = Manifest(
            **about._asdict(),
            image=image,
            source=source or Source(kind, "", stream.hexdigest()),
            contents=Contents(hashlib.sha256(packed).hexdigest(), len(packed)),
        )
        payload = made.encode()
        # What is signed is what a machine will accept: read it back before signing.
        manifest.decode(payload, subject=made.stem)
        store.add(image_file, made, sign(payload, manifest.PAYLOAD_TYPE), packed)
    return made


def entries_of(name: str, members: Iterable[Member]) -> list[Entry]:
    """What the contents of a package made of `members` would hold; nothing is written.

    Raises BootunionError as `write_package` does for bad members.
    """
    recorder = Recorder(name, reproducible.EPOCH, ())
    with closing(members), Path(os.devnull).open("wb") as nowhere:
        _pass_on(members, recorder, _Sink(nowhere, None))
    return sorted(recorder.entries.values())


def _pass_on(members: Iterable[Member], recorder: Recorder, sink: _Sink) -> None:
    # Not tarfile's stream mode: left by an exception, that still writes what it has, and a pipe
    # that is closed by then would turn the exception into another one.
    with tarfile.TarFile(
        fileobj=cast("IO[bytes]", sink), mode="w", format=tarfile.PAX_FORMAT,
        copybufsize=_CHUNK, encoding="utf-8", errors="surrogateescape",
    ) as archive:  # fmt: skip
        recorder.pass_on(members, archive)


class _Sink:
    """A pipe as tarfile wants it: one that knows its place. Hashes what is written to it."""

    def __init__(self, pipe: IO[bytes], state: hashlib._Hash | None) -> None:
        self._pipe = pipe
        self._state = state
        self._count = 0

    def tell(self) -> int:
        return self._count

    def write(self, data: bytes) -> int:
        if self._state is not None:
            self._state.update(data)
        self._pipe.write(data)
        self._count += len(data)
        return len(data)


def read_chunks(path: Path, limit: int | None = None) -> Iterator[bytes]:
    """A file's bytes, a mebibyte at a time, at most `limit` of them."""
    left = limit if limit is not None else path.stat().st_size
    with path.open("rb") as file:
        while left and (chunk := file.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    state = hashlib.sha256()
    for chunk in read_chunks(path):
        state.update(chunk)
    return state.hexdigest()


def append_tree(image: Path, image_format: str = SQUASHFS) -> Image:
    """Pad a file system to whole blocks and append its verity superblock and hash tree."""
    state = hashlib.sha256()
    size = 0
    for chunk in read_chunks(image):
        state.update(chunk)
        size += len(chunk)
    padding = b"\0" * (-size % verity.BLOCK_SIZE)
    state.update(padding)
    salt = verity.derive_salt(state.digest())
    tree = verity.build_tree(verity.blocks_of(read_chunks(image)), salt)
    with image.open("ab") as file:
        file.write(padding)
        file.write(verity.pack_superblock(salt, tree.data_blocks))
        file.write(tree.blocks)
    made = Image(
        image_format, verity.file_size(tree.data_blocks), tree.data_blocks,
        verity.hash_offset(tree.data_blocks), tree.salt, tree.root_hash,
    )  # fmt: skip
    if image_format == EROFS:
        # The kernel mounts an EROFS from the file, when fs-verity vouches for it.
        made = made._replace(fsverity=sealing.digest(read_chunks(image), made.size))
    return made


def check_image(path: Path, image: Image, *, subject: str) -> None:
    """Check every block of a package file against its root hash.

    Raises BootunionError file-changed, verity-invalid, root-hash-mismatch.
    """
    size = path.stat().st_size
    if size != image.size:
        text = f"has {size} bytes, the manifest says {image.size}"
        raise BootunionError("file-changed", text, subject=subject)
    salt = bytes.fromhex(image.salt)
    tree = verity.build_tree(verity.blocks_of(read_chunks(path, image.hash_offset)), salt)
    if tree.root_hash != image.root_hash:
        text = f"its blocks hash to {tree.root_hash[:16]}…, not {image.root_hash[:16]}…"
        raise BootunionError("root-hash-mismatch", text, subject=subject)
    with path.open("rb") as file:
        file.seek(image.hash_offset)
        if file.read(verity.BLOCK_SIZE) != verity.pack_superblock(salt, tree.data_blocks):
            text = "the verity superblock is not the one that belongs to it"
            raise BootunionError("verity-invalid", text, subject=subject)
        if file.read() != tree.blocks:
            text = "the stored hash tree differs from the data's"
            raise BootunionError("root-hash-mismatch", text, subject=subject)
