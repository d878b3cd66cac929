"""A Python project runs from packages: `prepare` says which, and brings those that are missing.

`Prepared` is what `bootunion run --project` unites: `layers` (top first) lie in the store
`stores[0]`; `trees` and `hidden` are those of `bootunion.process.View`; `environment` is set (""
counts as unset for all that reads these variables).

What was prepared is remembered in one file for each project directory (`memory`): while the stat
values of its input files, its interpreter and its packages are those of before, a start reads that
file and nothing else, and loads none of what is needed for preparing. That is why the imports of
this module are few, and why `prepare` imports the rest itself.

`settings` reads bootunion.yaml; `requirements`, `pylock` and `uvlock` give what is `wanted`;
`pipconfig` and `indexes` say where it may be; `bringing` fetches, imports and signs it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bootunion.process import Tree
from bootunion.systemlist import Layer

from .. import places
from . import memory


class Prepared(NamedTuple):
    """What a project's process root is made of. Paths are absolute."""

    layers: tuple[Layer, ...]
    stores: tuple[str, ...]
    trees: tuple[Tree, ...]
    hidden: tuple[str, ...]
    environment: dict[str, str]
    list_name: str = ""
    with_: tuple[str, ...] = ()


class Progress(Protocol):
    """Told how far it is; `console.Transfer` is one."""

    def begin(self, packages: int, size: int) -> None:
        """`packages` are to come, `size` bytes together."""

    def came(self, size: int) -> None:
        """`size` bytes came until now."""

    def done(self, name: str) -> None:
        """A package is there."""


class Silent:
    """Progress that nobody sees."""

    def begin(self, packages: int, size: int) -> None:
        """See `Progress`."""

    def came(self, size: int) -> None:
        """See `Progress`."""

    def done(self, name: str) -> None:
        """See `Progress`."""


def prepare(
    directory: Path, progress: Progress | None = None, *,
    environment: Mapping[str, str] = os.environ, jobs: int = 0,
) -> Prepared:  # fmt: skip
    """Everything that the project in `directory` needs, fetched and imported where it is missing.

    Raises BootunionError project-missing, project-invalid, hashes-missing, sdist-only,
    wheel-missing, wheel-unfit, wheel-invalid, hash-mismatch, python-unfit, disk-full …
    """
    top = directory.resolve()
    found = recall(top, environment) or _recall_content(top, environment)
    if found is None:
        from . import preparing  # noqa: PLC0415 - a warm start is to load none of it

        found = preparing.prepare(top, progress or Silent(), environment, jobs)
    return found._replace(environment=_with_path(found.environment, environment))


def recall(top: Path, environment: Mapping[str, str]) -> Prepared | None:
    """What was prepared before, when nothing that it depends on has changed since."""
    fields = memory.recall(places.cache(environment), top, environment)
    return None if fields is None else _understand(fields)


def _recall_content(top: Path, environment: Mapping[str, str]) -> Prepared | None:
    """What was prepared for a project with the same files; remembered of this one from now on."""
    cache = places.cache(environment)
    fields = memory.recall_content(cache, top, environment)
    found = None if fields is None else _understand(fields)
    if fields is not None and found is not None:
        from . import remembering  # noqa: PLC0415

        remembering.remember(memory.place(cache, top), fields)
    return found


def _understand(fields: Mapping[str, Any]) -> Prepared | None:
    try:
        return Prepared(
            tuple(memory.layer(one) for one in fields["layers"]),
            tuple(fields["stores"]),
            tuple(Tree(path, tuple(layers), below) for path, layers, below in fields["trees"]),
            tuple(fields["hidden"]),
            dict(fields["environment"]),
            fields["list_name"],
            tuple(fields["with_"]),
        )
    except (KeyError, TypeError, ValueError):
        return None  # another version's; it is written anew


def depends(directory: Path, environment: Mapping[str, str]) -> list[str]:
    """The paths that what is remembered of a project depends on, and where it is remembered."""
    top, cache = directory.resolve(), places.cache(environment)
    fields = memory.recall(cache, top, environment) or {"depends": []}
    return [str(memory.place(cache, top)), *(path for path, _ in fields["depends"])]


def _with_path(wanted: dict[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """The project's programs come first in PATH, as in a virtual environment that is active."""
    before = environment.get("PATH") or os.defpath
    first = wanted["PATH"]
    others = [one for one in before.split(":") if one != first]
    return {**wanted, "PATH": ":".join([first, *others])}
