"""Imports one wheel into a store."""

from __future__ import annotations

from pathlib import Path

from bootunion.errors import BootunionError
from bootunion.manifest import Manifest, Source
from bootunion.package import SQUASHFS

from .. import packaging
from ..packaging import Sign
from ..store import Store
from . import describing, unpacking
from .archive import Archive
from .interpreter import Interpreter


def import_wheel(
    file: Path, store: Path, signer: Sign, interpreter: Interpreter, *, sha256: str = "",
    threads: int = 0, image_format: str = SQUASHFS,
) -> Manifest:  # fmt: skip
    """Import a wheel for `interpreter`, compressing with `threads` (0: all cores).

    `sha256` is the file's, where it is known. The file is named as the wheel is. Raises
    BootunionError wheel-invalid, wheel-unfit, path-conflict, disk-full …
    """
    try:
        digest = sha256 or packaging.digest(file)
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise BootunionError("file-missing", text, subject=str(file)) from None
    with Archive(file) as archive:
        said = describing.read(archive, interpreter)
        return packaging.write_package(
            Store(store),
            unpacking.members(archive, said, interpreter.layout),
            said.about,
            Source("wheel", file.name, digest),
            signer,
            processors=threads,
            image_format=image_format,
        )
