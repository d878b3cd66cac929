"""What a cell of the matrix is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

Edit = tuple[Any, ...]


class Cell(NamedTuple):
    """One damage.

    `codes` are the refusals in order, by (generation, code); `booted` the generation that must
    stand at the sysroot, 0 for none; `files` what reading all of its files must give.
    """

    name: str
    edits: tuple[Edit, ...]
    codes: tuple[tuple[int, str], ...] = ()
    booted: int = 1
    files: str = "right"
    cmdline: str = ""
    trust: str = ""
    stopped: str = ""
    warnings: tuple[str, ...] = ()
    left_out: int = 0


class Files:
    """Contents that edits put into the store, by name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._count = 0

    def add_trust(self, data: bytes) -> str:
        """A directory with a trust.json, for the agent's --trust."""
        self._count += 1
        name = f"{self._count:03}"
        (self.directory / name).mkdir()
        (self.directory / name / "trust.json").write_bytes(data)
        return name

    def add(self, data: bytes) -> str:
        self._count += 1
        name = f"{self._count:03}"
        (self.directory / name).write_bytes(data)
        return name


def refused(name: str, edits: Edit | tuple[Edit, ...], code: str, **more: Any) -> Cell:
    """A cell in which generation 2 is refused with `code` and generation 1 boots."""
    several = edits if edits and isinstance(edits[0], tuple) else (edits,)
    return Cell(name, several, ((2, code),), **more)  # type: ignore[arg-type]
