"""What a Python said of itself, kept while it is the same Python on the same machine.

Asking starts it, which is a good part of preparing a project whose packages are all there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

from bootunion.errors import BootunionError

from ..wheels import interpreter
from ..wheels.interpreter import Interpreter
from . import memory, remembering

_SCHEMA = 1
_MOST = 1 << 20


def _which(python: str) -> str | None:
    if "/" in python and os.path.isfile(python) and os.access(python, os.X_OK):
        return python
    import shutil  # noqa: PLC0415 - most are paths

    return shutil.which(python)


def ask(python: str, cache: Path) -> Interpreter:
    """As `interpreter.ask`; an answer in `cache` counts while what it depends on is unchanged.

    Raises BootunionError python-unfit, program-missing.
    """
    found = _which(python)
    if found is None:
        return interpreter.ask(python)  # it says what is wrong
    key = hashlib.sha256(os.fsencode(os.path.abspath(found))).hexdigest()[:32]
    place = cache / "interpreters" / f"{key}.json"
    machine = [*os.uname(), os.confstr("CS_GNU_LIBC_VERSION")]
    kept = memory.read_own(place, _MOST)
    with contextlib.suppress(KeyError, TypeError, ValueError, BootunionError):
        if (
            kept is not None
            and kept["schema"] == _SCHEMA
            and kept["machine"] == machine
            and memory.unchanged(kept["depends"])
        ):
            return interpreter.understand(kept["said"], python)
    said = interpreter.answer(python)
    depends = memory.stats(_depends(found, said))
    fields = {"schema": _SCHEMA, "machine": machine, "depends": depends, "said": said}
    made = interpreter.understand(said, python)
    remembering.remember(place, fields)
    return made


def _depends(found: str, said: dict[str, Any]) -> list[str]:
    """The program, the library it is configured by, and what asked it."""
    stdlib = [said["paths"][name] for name in ("stdlib", "platstdlib")]
    return [found, os.path.realpath(found), *stdlib, f"{stdlib[0]}/sysconfig.py",
            "/etc/os-release", *interpreter.asked_by()]  # fmt: skip
