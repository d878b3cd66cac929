"""What both kinds of lock file share: TOML whose values are of the kinds they should be."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName

from bootunion.errors import BootunionError

from .. import bounded
from .wanted import Candidate, invalid

_MOST = 64 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


def load(path: Path) -> dict[str, Any]:
    """A TOML file. Raises BootunionError file-missing, project-invalid."""
    data = bounded.read(path, _MOST)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        invalid(path, f"is not TOML: {str(error)[:200]}")


def tables(path: Path, value: object, where: str) -> list[dict[str, Any]]:
    """A list of tables; none is an empty one."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        invalid(path, f"{where} is not a list of tables")
    return value


def text(path: Path, value: object, where: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        invalid(path, f"{where} is not a text")
    return value


def holds(path: Path, marker: object, environment: Mapping[str, Any]) -> bool:
    """Whether a marker (none: always) is true. Raises BootunionError project-invalid."""
    if marker is None:
        return True
    try:
        parsed = Marker(text(path, marker, "a marker"))
        if "extras" in environment:
            # The names that only lock files have; packaging before 25 knows none of them.
            return parsed.evaluate(dict(environment), context="lock_file")
        return parsed.evaluate(dict(environment))
    except TypeError:
        return parsed.evaluate(dict(environment))
    except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName) as error:
        invalid(path, f"has a marker that cannot be read: {' '.join(str(error).split())[:200]}")


def candidate(path: Path, fields: Mapping[str, Any], digest: object) -> Candidate:
    """A wheel of a lock file. Raises BootunionError project-invalid, hashes-missing."""
    if isinstance(digest, str):
        digest = digest.lower()
    if not isinstance(digest, str) or _SHA256.match(digest) is None:
        what = (
            f"has a wheel without a SHA-256: {str(fields.get('url') or fields.get('path'))[:200]}"
        )
        raise BootunionError("hashes-missing", what, subject=str(path))
    place = text(path, fields.get("url") or fields.get("path"), "`url` or `path` of a wheel")
    if "url" not in fields:
        place = urljoin(f"{path.parent.resolve().as_uri()}/", place)
    name = fields.get("name") or fields.get("filename") or unquote(urlsplit(place).path)
    size = fields.get("size", 0)
    if not isinstance(size, int):
        invalid(path, "`size` of a wheel is not a number")
    file_name = text(path, name, "`name` of a wheel").rpartition("/")[2]
    return Candidate(file_name, place, digest, max(size, 0))
