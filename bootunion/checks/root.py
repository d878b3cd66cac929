"""The union as the checks look at it: paths followed through symlinks, packages by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..contents import FILE, SYMLINK, Entry
from ..manifest import Manifest
from ..merge import Namespace
from ..systemlist import SystemList

MODULES = "usr/lib/modules/"
_MAX_SYMLINKS = 40  # as the kernel's MAXSYMLINKS


class Trail(NamedTuple):
    """Where a path leads: `found` is its real path, None where there is none.

    `missing` is then the path that is not there, with what would have followed.
    """

    found: str | None
    missing: str = ""


class Root:
    """What the checks ask of a merged namespace. Paths are relative to the root."""

    def __init__(
        self, system: SystemList, merged: Namespace, manifests: Sequence[Manifest | None]
    ) -> None:
        self.system = system
        self.merged = merged
        self.paths = merged.paths
        self.manifests = manifests
        self.names = [layer.name for layer in system.layers]
        self.generated = generated_name(system)
        # Gathered in one pass, because there are hundreds of thousands of paths.
        self.linked: list[str] = []  # what has `linking`
        self.symlinks: list[str] = []
        self.modules: list[str] = []  # below /usr/lib/modules
        for path, (_, entry) in merged.paths.items():
            if entry.linking is not None:
                self.linked.append(path)
            elif entry.type == SYMLINK:
                self.symlinks.append(path)
            if path.startswith(MODULES):
                self.modules.append(path)

    def follow(self, path: str) -> Trail:
        """Follow symlinks inside the union, in every part of `path`."""
        direct = self.paths.get(path)
        if direct is not None and direct[1].type != SYMLINK:
            return Trail(path)  # the union's own paths have no symlinks among their parents
        rest = path.split("/")[::-1]
        done = ""
        budget = _MAX_SYMLINKS
        while rest:
            part = rest.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = done.rpartition("/")[0]
                continue
            here = f"{done}/{part}" if done else part
            at = self.paths.get(here)
            if at is not None and at[1].type != SYMLINK:
                done = here
                continue
            if at is None or budget == 0:
                return Trail(None, "/".join((here, *rest[::-1])))
            budget -= 1
            if at[1].target.startswith("/"):
                done = ""
            rest.extend(at[1].target.split("/")[::-1])
        return Trail(done)

    def file(self, path: str) -> tuple[str, Entry] | None:
        """The real path and entry of the regular file that `path` leads to."""
        real = self.follow(path.lstrip("/")).found
        if real is None:
            return None
        entry = self.paths[real][1]
        return (real, entry) if entry.type == FILE else None

    def program(self, path: str) -> tuple[str, Entry] | None:
        """The same for a file that may be executed."""
        at = self.file(path)
        return at if at is not None and at[1].mode & 0o111 else None

    def package(self, path: str) -> str:
        """The package that gives `path`, or the symlink there; "" for none."""
        parent, _, name = path.rpartition("/")
        real = self.follow(parent).found if parent else ""
        at = self.paths.get(f"{real}/{name}" if real else name)
        return self.names[at[0]] if at is not None else ""


def generated_name(system: SystemList) -> str:
    """What `compose` calls the generated layer of a list."""
    return f"{system.name}-generated"
