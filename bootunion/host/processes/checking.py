"""Checks packages in the place of the kernel, where it has no device mapper.

That is weaker than dm-verity: what is read later is not checked again. An image that was checked is
not read again while its file's device, number, size and times are the same.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from bootunion.process import Pick
from bootunion.systemlist import Layer

from .searching import Place


def have_device_mapper() -> bool:
    """Whether this kernel has a device mapper that this process may steer."""
    try:
        os.close(os.open("/dev/mapper/control", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def check(
    picks: Sequence[Pick], search: Sequence[Place], memory: Path, step: Callable[[str], None]
) -> None:
    """Read and check every block of each package that was not checked as it is now.

    `memory` is a directory of this user's alone. Raises BootunionError root-hash-mismatch …
    """
    for layer, store in picks:
        path = search[store].store.packages / layer.file_name
        seen = memory / layer.image.root_hash
        state = _state(path)
        if not _known(seen, state):
            _read_all(path, layer)
            memory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _state(path) == state:
                _remember(seen, state)
        step(layer.name)


def _state(path: Path) -> str:
    status = path.stat()
    return (f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} "
            f"{status.st_ctime_ns}\n")  # fmt: skip


def _known(seen: Path, state: str) -> bool:
    try:
        status = seen.lstat()
        return status.st_uid == os.geteuid() and seen.read_text(encoding="ascii") == state
    except (OSError, ValueError):
        return False


def _remember(seen: Path, state: str) -> None:
    aside = seen.with_name(f".{seen.name}.{os.getpid()}")
    with contextlib.suppress(OSError):  # what is not remembered is checked again
        aside.write_text(state, encoding="ascii")
        aside.rename(seen)


def _read_all(path: Path, layer: Layer) -> None:
    from .. import packaging  # noqa: PLC0415 - what was checked needs none of it

    packaging.check_image(path, layer.image, subject=layer.stem)
