"""Writes what `memory` reads: apart from it, for a warm start writes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import memory

if TYPE_CHECKING:
    from . import Prepared


def fields_of(
    prepared: Prepared, top: str, depends: list[list[Any]], variables: Mapping[str, str | None]
) -> dict[str, Any]:
    """What is remembered of a project in the directory `top` ("": wherever its files are)."""
    return {
        **prepared._asdict(), "schema": memory.SCHEMA, "directory": top, "depends": depends,
        "variables": dict(variables),
        "layers": [memory.layer_fields(one) for one in prepared.layers],
    }  # fmt: skip


def remember(place: Path, fields: Mapping[str, Any]) -> None:
    """Write it, for others old or new at any moment.

    It need not outlive a power cut, for it is worked out again: nothing waits for the disk.
    """
    place.parent.mkdir(exist_ok=True)
    aside = place.with_name(f".{place.name}.{os.urandom(8).hex()}")
    try:
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump(fields, file)
        aside.rename(place)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
