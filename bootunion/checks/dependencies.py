"""Whether each package has what it depends on, by the manifests (deb-control(5), Depends)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .. import versions
from .finding import Finding, and_more, found
from .root import Root

# name, perhaps :architecture, perhaps (relation version)
_RELATION = re.compile(r"([^\s:(]+)(?::\S+)?\s*(?:\(\s*(<<|<=|=|>=|>>|<|>)\s*([^\s)]+)\s*\))?\s*\Z")
_RECORD = "var/lib/dpkg/status.d/"  # where `import deb` puts a package's stanza


class _Relation(NamedTuple):
    name: str
    sign: str
    version: str


_Have = dict[str, list[str]]
"""Versions by name; "" where a package provides a name without one."""


def check(root: Root) -> Iterator[Finding]:
    """Findings about dependencies; all packages that lack the same share one."""
    have = _have(root)
    keys = _Keys()
    missing: dict[str, list[int]] = {}  # by the names alone: where there is none, no version fits
    other: dict[str, list[int]] = {}
    for position, manifest in enumerate(root.manifests):
        for depends in manifest.depends if manifest is not None else ():
            if not _met(depends, have, keys):
                names = _names(depends)
                if any(name in have for name in names):
                    other.setdefault(depends, []).append(position)
                else:
                    missing.setdefault(" | ".join(names), []).append(position)
    for depends, positions in missing.items():
        yield _missing(root, depends, positions)
    for depends, positions in other.items():
        yield _other(root, depends, positions, have)


def _names(depends: str) -> list[str]:
    return [one.name for text in depends.split("|") if (one := _relation(text))]


def _have(root: Root) -> _Have:
    have: _Have = {}
    for layer, manifest in zip(root.system.layers, root.manifests, strict=True):
        have.setdefault(layer.name, []).append(layer.version)
        for text in manifest.provides if manifest is not None else ():
            one = _relation(text)
            if one is not None:
                have.setdefault(one.name, []).append(one.version)
    return have


class _Keys(dict[str, tuple[object, ...]]):
    """The sort key of each version, made once."""

    def __missing__(self, version: str) -> tuple[object, ...]:
        self[version] = found = versions.key(version)
        return found


def _relation(text: str) -> _Relation | None:
    one = _RELATION.match(text.strip())
    return _Relation(one[1], one[2] or "", one[3] or "") if one is not None else None


def _met(depends: str, have: Mapping[str, list[str]], keys: _Keys) -> bool:
    """Whether one of the alternatives is there; what cannot be read is not held against anyone."""
    for text in depends.split("|"):
        one = _relation(text)
        if one is None:
            return True
        for version in have.get(one.name, ()):
            # A name that is provided without a version meets no version (Debian policy, 7.5).
            if not one.sign or (version and _fits(keys[version], one.sign, keys[one.version])):
                return True
    return False


def _fits(version: tuple[object, ...], sign: str, wanted: tuple[object, ...]) -> bool:
    # dpkg still reads "<" and ">" as "<=" and ">=" (deb-control(5) calls them obsolete).
    if sign == "=":
        return version == wanted
    if sign in ("<<", "<=", "<"):
        return version < wanted or (sign != "<<" and version == wanted)
    return version > wanted or (sign != ">>" and version == wanted)


def _missing(root: Root, depends: str, positions: list[int]) -> Finding:
    package, path, said = _who(root, positions)
    names = depends.split(" | ")
    text = f"{said} depends on {' or '.join(names)}, which no package is or provides"
    way_out = f"Add {' or '.join(names)} to the list, or leave out {package}."
    return found("dependency-missing", path, package, text, way_out=way_out)


def _other(root: Root, depends: str, positions: list[int], have: _Have) -> Finding:
    package, path, said = _who(root, positions)
    name = next(name for name in _names(depends) if name in have)
    there = next((version for version in have[name] if version), "")
    has = f"{name} {there}" if there else f"{name} without a version"
    text = f"{said} depends on {depends}, and the list has {has}"
    way_out = f"Take {package} and {name} from the same suite."
    return found("dependency-version", path, package, text, way_out=way_out)


def _who(root: Root, positions: list[int]) -> tuple[str, str, str]:
    """The first of the packages, where its dependencies are stated, and how the sentence begins."""
    package = root.names[positions[0]]
    manifest = root.manifests[positions[0]]
    records = (package, f"{package}:{manifest.architecture}" if manifest else package)
    path = next((_RECORD + name for name in records if _RECORD + name in root.paths), "")
    where = f" (/{path})" if path else ""
    return package, path, f"{package}{where}{and_more(len(positions) - 1, 'packages')}"
