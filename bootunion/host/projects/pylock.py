"""pylock.toml (PEP 751; packaging.python.org, "pylock.toml Specification")."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from bootunion.errors import BootunionError

from . import toml
from .wanted import Read, Wanted, invalid


def read(path: Path, markers: Mapping[str, str], version: str) -> Read:
    """What a lock file wants of an interpreter of this `version`.

    No extras are taken, and the default groups. Raises BootunionError project-invalid,
    hashes-missing, sdist-only, python-unfit.
    """
    lock = toml.load(path)
    if str(lock.get("lock-version", "")).partition(".")[0] != "1":
        invalid(path, f"has the lock-version {lock.get('lock-version')!r}; 1.x is known")
    groups = lock.get("default-groups", [])
    if not isinstance(groups, list) or not all(isinstance(one, str) for one in groups):
        invalid(path, "`default-groups` is not a list of names")
    environment: dict[str, Any] = {
        **markers, "extras": frozenset[str](), "dependency_groups": frozenset(groups)
    }  # fmt: skip
    _check_python(path, lock.get("requires-python"), version)
    allowed = lock.get("environments", [])
    if allowed and not any(toml.holds(path, one, markers) for one in allowed):
        raise BootunionError("python-unfit", "is locked for other environments", subject=str(path))
    wanted: dict[str, Wanted] = {}
    for fields in toml.tables(path, lock.get("packages"), "`packages`"):
        if not toml.holds(path, fields.get("marker"), environment):
            continue
        one = _wanted(path, fields)
        _check_python(path, fields.get("requires-python"), version)
        if one.name in wanted:
            invalid(path, f"has {one.name} twice for one environment")
        wanted[one.name] = one
    return Read(tuple(wanted.values()), (str(path),))


def _wanted(path: Path, fields: dict[str, Any]) -> Wanted:
    name = canonicalize_name(toml.text(path, fields.get("name"), "`name` of a package"))
    for kind in ("vcs", "directory", "archive"):
        place = fields.get(kind)
        if isinstance(place, dict) and not str(place.get("url") or place.get("path")).endswith(
            ".whl"
        ):
            text = f"{name} is a {kind}, which would have to be built"
            raise BootunionError("sdist-only", text, subject=str(path))
    wheels = toml.tables(path, fields.get("wheels"), f"`wheels` of {name}")
    if "archive" in fields:
        wheels = [*wheels, fields["archive"]]
    found = []
    for wheel in wheels:
        hashes = wheel.get("hashes")
        digest = hashes.get("sha256") if isinstance(hashes, dict) else None
        found.append(toml.candidate(path, wheel, digest))
    return Wanted(
        name, str(fields.get("version", "")), frozenset(one.sha256 for one in found), tuple(found),
        sdist="sdist" in fields,
    )  # fmt: skip


def _check_python(path: Path, wanted: object, version: str) -> None:
    if wanted is None:
        return
    try:
        fits = SpecifierSet(toml.text(path, wanted, "`requires-python`")).contains(
            version, prereleases=True
        )
    except InvalidSpecifier:
        invalid(path, f"asks for the Python {str(wanted)[:80]!r}")
    if not fits:
        text = f"asks for Python {wanted}, this is {version}"
        raise BootunionError("python-unfit", text, subject=str(path))
