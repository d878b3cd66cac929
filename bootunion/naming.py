"""How a person names a package: NAME, NAME=VERSION, or the beginning of its root hash."""

from __future__ import annotations

import re

from . import package, plan
from .manifest import Manifest
from .systemlist import Layer
from .values import NamedTuple

# Fewer digits are a name: a package may be called "cafe".
_ROOT_HASH = re.compile(r"[0-9a-f]{16,64}\Z")
_INDEPENDENT = ("all", "any", "noarch")  # packages that fit every machine


class Named(NamedTuple):
    """A package as it was asked for; parts that were not given are ""."""

    text: str
    name: str = ""
    version: str = ""
    root_hash: str = ""

    def fits(self, one: Manifest | Layer) -> bool:
        """Whether a signed description is of this package."""
        if self.root_hash:
            return one.image.root_hash.startswith(self.root_hash)
        return one.name == self.name and self.version in ("", one.version)

    @property
    def hint(self) -> str:
        """What its files' names begin with, or for a root hash end with."""
        if self.root_hash:
            return self.root_hash[:16]
        if self.version:
            return package.file_stem(self.name, self.version, "", "").rstrip("_")
        return self.name


def parse(text: str) -> Named:
    """NAME, NAME=VERSION, or 16 and more hex digits of the root hash."""
    if _ROOT_HASH.match(text):
        return Named(text, root_hash=text)
    name, _, version = text.partition("=")
    return Named(text, name, version)


def fitting(machine: str) -> frozenset[str]:
    """The architectures of packages that a machine (`uname -m`) can use."""
    return frozenset((*plan.ARCHITECTURES.get(machine, ()), *_INDEPENDENT))
