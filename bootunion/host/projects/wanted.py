"""What a project wants: wheels, each by its digests."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from bootunion.errors import BootunionError


class Candidate(NamedTuple):
    """A wheel that may be had at `place` (an address, or an absolute path).

    `sha256` is "" and `size` (bytes) is 0 where nobody says.
    """

    file_name: str
    place: str
    sha256: str = ""
    size: int = 0


class Wanted(NamedTuple):
    """One project's wheel: of those with `hashes` (SHA-256, hex) the best for the interpreter.

    `candidates` are those that the lock file names; `everywhere`: the indexes are asked, too.
    `sdist`: there is a source distribution, which is not used.
    """

    name: str
    version: str
    hashes: frozenset[str]
    candidates: tuple[Candidate, ...] = ()
    everywhere: bool = False
    sdist: bool = False
    extras: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        """As people write it."""
        return f"{self.name}=={self.version}" if self.version else self.name


class Sources(NamedTuple):
    """Where wheels may be: `indexes` (simple API, PEP 503 and 691) and `find_links`."""

    indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()


class Read(NamedTuple):
    """What a project's files say. `closed`: they have to name all that their packages need.

    `main_index` None: pip's configuration says; `inputs` are the files read, `variables` the
    parts of the environment, `python_path` where the project's own modules are.
    """

    wanted: tuple[Wanted, ...]
    inputs: tuple[str, ...]
    sources: Sources = Sources()
    main_index: str | None = None
    no_index: bool = False
    closed: bool = False
    variables: tuple[str, ...] = ()
    python_path: tuple[str, ...] = ()


def invalid(path: object, what: str) -> NoReturn:
    """Refuse a project's file."""
    raise BootunionError("project-invalid", what, subject=str(path))
