"""The union as the checks look at it: paths followed through symlinks, packages by name."""

from __future__ import annotations

from collections.abc import Sequence

from ..contents import FILE, SYMLINK, Entry
from ..manifest import Manifest
from ..merge import Namespace, Trail
from ..systemlist import SystemList, generated_name

MODULES = "usr/lib/modules/"


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
        self.generated = generated_name(system.name)
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
        return self.merged.follow(path)

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
