"""The package that gives a project's interpreter its names: /usr/local/bin/python and others.

So that `python`, `python3` and what begins with `#!/usr/bin/env python3` mean the project's
interpreter, whatever else comes in PATH.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bootunion.manifest import Manifest, Source

if TYPE_CHECKING:
    from ..members import Member
    from ..packaging import Sign
    from ..store import Store
    from ..wheels.interpreter import Interpreter

NAME = "project-python"


def digest(interpreter: Interpreter) -> str:
    """What stands in the manifest for the file that it was made of, which there is not."""
    layout = interpreter.layout
    return hashlib.sha256(f"{NAME}\0{layout.python}\0{layout.scripts}".encode()).hexdigest()


def make(store: Store, sign: Sign, interpreter: Interpreter) -> Manifest:
    """Make the package. Raises BootunionError disk-full, program-failed."""
    from .. import packaging  # noqa: PLC0415 - it is made once

    about = packaging.Description(
        NAME, interpreter.version, "all", "The names of a project's Python"
    )
    source = Source("generated", "", digest(interpreter))
    return packaging.write_package(store, _members(interpreter), about, source, sign)


def _members(interpreter: Interpreter) -> Iterator[Member]:
    import tarfile  # noqa: PLC0415

    from .. import reproducible  # noqa: PLC0415

    layout = interpreter.layout
    major = interpreter.version.partition(".")[0]
    for name in ("python", f"python{major}"):
        info = tarfile.TarInfo(f"{layout.scripts}/{name}")
        info.type, info.linkname, info.mtime = tarfile.SYMTYPE, layout.python, reproducible.EPOCH
        yield info, None
