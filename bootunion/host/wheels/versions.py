"""Versions of wheels (PEP 440) as versions of packages, which dpkg's rules order.

PEP 440                    package
1!2.0                      1:2.0
2.0.dev1 < 2.0a1 < 2.0     2.0~~dev1 < 2.0~a1 < 2.0
2.0.post1.dev2 < 2.0.1     2.0+post1~dev2 < 2.0.1
2.0+cpu                    2.0+cpu

A local version that comes behind "post" in the alphabet is the one thing that gets another place:
it counts as newer than a post-release.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.specifiers import Specifier
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from . import PREFIX

_ROOM = 6  # parts of a release: PEP 440 takes 2 and 2.0.0 for one, dpkg does not


def package_name(project: str) -> str:
    """What the package of a project's wheel is called."""
    return f"{PREFIX}{canonicalize_name(project)}"


def package_version(version: Version) -> str:
    """The version of the package of a wheel."""
    return _spelt(version, ".".join(map(str, version.release)))


def _spelt(version: Version, release: str) -> str:
    text = f"{version.epoch}:" if version.epoch else ""
    text += release
    if version.pre is not None:
        text += f"~{version.pre[0]}{version.pre[1]}"
    if version.post is not None:
        text += f"+post{version.post}"
    if version.dev is not None:
        plain = version.pre is None and version.post is None
        text += f"{'~~' if plain else '~'}dev{version.dev}"
    return text + (f"+{version.local}" if version.local else "")


def relations(requirement: Requirement) -> Iterator[str]:
    """What a package needs for `requirement`: `name (>= version)`, in the words of deb-control(5).

    What those have no words for (`!=`, `===`) is left out: a relation is never stricter.
    """
    name = package_name(requirement.name)
    found = sorted({one for each in requirement.specifier for one in _relations(each)})
    yield from (f"{name} ({one})" for one in found)
    if not found:
        yield name


def _relations(one: Specifier) -> Iterator[str]:
    wild = one.version.endswith(".*")
    try:
        version = Version(one.version.removesuffix(".*"))
    except InvalidVersion:
        return
    release = [str(part) for part in version.release]
    least = _spelt(version, re.sub(r"(?:\.0)+\Z", "", ".".join(release)))
    most = _spelt(version, ".".join((*release, *["0"] * (_ROOM - len(release)))))
    if one.operator in (">=", "=="):
        yield f">= {least}"
    if one.operator == "==":
        yield f"<< {_next(version, len(release))}" if wild else f"<= {most}"
    elif one.operator == "~=":
        yield f">= {least}"
        yield f"<< {_next(version, len(release) - 1)}"
    elif one.operator == "<=":
        yield f"<= {most}"
    elif one.operator == "<":
        yield f"<< {least}"
    elif one.operator == ">":
        yield f">> {most}"


def _next(version: Version, parts: int) -> str:
    """The first release that is not one of the `parts` parts: 2.2 for 2.1.*, before its rc1."""
    release = list(version.release[:parts])
    release[-1] += 1
    epoch = f"{version.epoch}:" if version.epoch else ""
    return f"{epoch}{'.'.join(map(str, release))}~"
