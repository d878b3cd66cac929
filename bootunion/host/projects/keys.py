"""A user's own key: made at first use, for what this user imports; nobody else trusts it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from bootunion import trust

from .. import signing
from ..signing import Signer
from ..store import refusing_full_disk, sync_directory

_KEY = f"{trust.ROLE_PACKAGE}.key"
TRUST = "trust"


def signer(config: Path) -> Signer:
    """The signer of the user whose configuration is in `config`; where it has no key, one is made.

    Raises BootunionError key-invalid, exists, disk-full.
    """
    if not (config / TRUST / trust.FILE_NAME).exists():
        _make(config)
    return Signer(config / _KEY)


def _make(config: Path) -> None:
    import shutil  # noqa: PLC0415 - once in a person's life
    import tempfile  # noqa: PLC0415

    with refusing_full_disk(config):
        config.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone(config):
            if (config / TRUST / trust.FILE_NAME).exists():
                return  # another process was quicker
            aside = Path(tempfile.mkdtemp(prefix=".new-", dir=config))
            try:
                signing.generate(aside)
                # Who cannot sign lists cannot have anything booted: those keys are gone for good.
                for name in (f"{trust.ROLE_PACKAGE}.pub", _KEY, TRUST):
                    place = config / name
                    if place.is_dir():
                        shutil.rmtree(place)
                    (aside / name).rename(place)
                sync_directory(config)
            finally:
                shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
