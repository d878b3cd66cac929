"""uv.lock, version 1 (docs.astral.sh/uv, "Locking and syncing"; the format is what uv writes)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from bootunion.errors import BootunionError

from . import toml
from .wanted import Read, Wanted, invalid

_PROJECT = ("virtual", "editable", "directory")
_DEFAULT_GROUPS = ("dev",)


def read(path: Path, markers: Mapping[str, str], version: str) -> Read:
    """What `uv sync` would install: the project's dependencies and its default groups.

    Raises BootunionError project-invalid, hashes-missing, sdist-only, python-unfit.
    """
    lock = toml.load(path)
    if lock.get("version") != 1:
        invalid(path, f"has the version {lock.get('version')!r}; 1 is known")
    wanted = lock.get("requires-python", "")
    try:
        if not SpecifierSet(str(wanted)).contains(version, prereleases=True):
            text = f"asks for Python {wanted}, this is {version}"
            raise BootunionError("python-unfit", text, subject=str(path))
    except InvalidSpecifier:
        invalid(path, f"asks for the Python {str(wanted)[:80]!r}")
    walk = _Walk(path, lock, markers)
    top = walk.project()
    pyproject = path.parent / "pyproject.toml"
    walk.follow(top, frozenset(), _groups(pyproject))
    return Read(
        tuple(walk.wanted[key] for key in sorted(walk.wanted)), (str(path), str(pyproject)),
        python_path=_python_path(path.parent, top),
    )  # fmt: skip


def _groups(pyproject: Path) -> tuple[str, ...]:
    """The groups that uv takes without being asked."""
    if not pyproject.exists():
        return _DEFAULT_GROUPS
    value: object = toml.load(pyproject)
    for key in ("tool", "uv", "default-groups"):
        value = value.get(key) if isinstance(value, dict) else None
    if value == "all":
        return ("*",)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    return _DEFAULT_GROUPS


def _python_path(top: Path, project: dict[str, Any]) -> tuple[str, ...]:
    """Where the project's own modules are, which uv would install as editable."""
    if "editable" not in project["source"]:
        return ()
    return (str(top / "src" if (top / "src").is_dir() else top),)


class _Walk:
    """From the project to all that it needs here."""

    def __init__(self, path: Path, lock: dict[str, Any], markers: Mapping[str, str]) -> None:
        self._path = path
        self._markers = {**markers, "extra": ""}
        self._packages: dict[str, list[dict[str, Any]]] = {}
        self._followed: set[tuple[str, str]] = set()
        self.wanted: dict[str, Wanted] = {}
        for fields in toml.tables(path, lock.get("package"), "`package`"):
            name = toml.text(path, fields.get("name"), "`name` of a package")
            if not isinstance(fields.get("source"), dict):
                invalid(path, f"{name} has no source")
            self._packages.setdefault(canonicalize_name(name), []).append(fields)

    def project(self) -> dict[str, Any]:
        """The package that is the project itself."""
        found = [
            one for several in self._packages.values() for one in several
            if any(one["source"].get(kind) == "." for kind in _PROJECT)
        ]  # fmt: skip
        if len(found) != 1:
            invalid(self._path, f"has {len(found)} packages at `.`, 1 is the project")
        return found[0]

    def follow(
        self, package: dict[str, Any], extras: frozenset[str], groups: tuple[str, ...] = ()
    ) -> None:
        """Want all that `package` needs with these extras and groups."""
        waiting = [(package, extras, groups)]
        while waiting:
            one, extras, groups = waiting.pop()
            for need in self._needs(one, extras, groups):
                if not toml.holds(self._path, need.get("marker"), self._markers):
                    continue
                found = self._find(need)
                asked = need.get("extra", [])
                more = frozenset(map(str, asked if isinstance(asked, list) else [asked]))
                key = (f"{found['name']} {found.get('version')}", " ".join(sorted(more)))
                if key not in self._followed:
                    self._followed.add(key)
                    self._want(found)
                    waiting.append((found, more, ()))

    def _needs(
        self, package: dict[str, Any], extras: frozenset[str], groups: tuple[str, ...]
    ) -> Iterator[dict[str, Any]]:
        path = self._path
        yield from toml.tables(path, package.get("dependencies"), "`dependencies`")
        for key, names in (("optional-dependencies", extras), ("dev-dependencies", groups)):
            several = package.get(key, {})
            if not isinstance(several, dict):
                invalid(path, f"`{key}` is not a table")
            for name, needs in several.items():
                if name in names or "*" in names:
                    yield from toml.tables(path, needs, f"`{key}`")

    def _find(self, need: dict[str, Any]) -> dict[str, Any]:
        name = canonicalize_name(toml.text(self._path, need.get("name"), "`name` of a dependency"))
        found = [
            one for one in self._packages.get(name, ())
            if all(key not in need or need[key] == one.get(key) for key in ("version", "source"))
        ]  # fmt: skip
        if len(found) != 1:
            invalid(self._path, f"has {len(found)} packages for the dependency {name}")
        return found[0]

    def _want(self, fields: dict[str, Any]) -> None:
        name, source = canonicalize_name(fields["name"]), fields["source"]
        if any(source.get(kind) == "." for kind in _PROJECT):
            return
        version = str(fields.get("version", ""))
        if name in self.wanted and self.wanted[name].version != version:
            invalid(self._path, f"wants {name} {version} and {self.wanted[name].version} at once")
        for kind in ("git", *_PROJECT):
            if kind in source:
                place = str(source[kind])[:100]
                text = f"{name} comes from {kind} {place!r}, and would have to be built"
                raise BootunionError("sdist-only", text, subject=str(self._path))
        found = []
        for listed in toml.tables(self._path, fields.get("wheels"), f"`wheels` of {name}"):
            wheel = self._placed(listed, source)
            digest = str(wheel.get("hash", "")).removeprefix("sha256:")
            found.append(toml.candidate(self._path, wheel, digest))
        hashes = frozenset(one.sha256 for one in found)
        self.wanted[name] = Wanted(name, version, hashes, tuple(found), sdist="sdist" in fields)

    def _placed(self, wheel: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
        """With the place of a wheel that the package's source says."""
        for key in ("url", "path"):
            if source.get(key):
                return {key: source[key], **wheel}
        registry = source.get("registry", "")
        if "url" not in wheel and "path" in wheel and "://" not in registry:
            return {**wheel, "path": str(Path(registry) / wheel["path"])}
        return wheel
