"""bootunion.yaml of a project, or what is found where there is none."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import NamedTuple

from bootunion.errors import BootunionError

from .. import references
from ..wheels import interpreter
from .memory import FILE, FOUND
from .wanted import invalid

_KEYS = ("requirements", "python", "system-packages", "index", "find-links", "list", "with")


class Settings(NamedTuple):
    """A project's settings. `requirements` is a file; `indexes` empty: as pip is configured."""

    requirements: Path
    python: str = interpreter.DEFAULT
    system_packages: bool = False
    indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    list_name: str = ""
    with_: tuple[str, ...] = ()


def read(top: Path) -> Settings:
    """The settings of the project in `top`.

    Raises BootunionError project-missing, project-invalid, file-missing.
    """
    path = top / FILE
    values: dict[str, object] = {}
    if path.exists():
        values = _mapping(path)
    named = _texts(path, values, "requirements")
    if len(named) > 1:
        invalid(path, "`requirements` is not one file name")
    found = [top / name for name in named or FOUND if (top / name).exists()]
    if not found and named:
        raise BootunionError(
            "file-missing", "`requirements` names no file", subject=str(top / named[0])
        )
    if not found:
        text = f"has none of {FILE}, {', '.join(FOUND)}"
        raise BootunionError("project-missing", text, subject=str(top))
    settings = Settings(
        found[0], indexes=_texts(path, values, "index"), with_=_texts(path, values, "with"),
        find_links=tuple(_beside(top, one) for one in _texts(path, values, "find-links")),
    )  # fmt: skip
    python, system_packages = values.get("python"), values.get("system-packages", False)
    if not isinstance(system_packages, bool):
        invalid(path, "`system-packages` is neither true nor false")
    if python is not None and (not isinstance(python, str) or not python):
        invalid(path, "`python` is not the path of an interpreter")
    name = values.get("list", "")
    if not isinstance(name, str) or (name and not references.is_stored(name)):
        invalid(path, "`list` is neither LIST nor LIST@GENERATION")
    return settings._replace(
        python=python or interpreter.DEFAULT, system_packages=system_packages, list_name=name
    )


def _mapping(path: Path) -> dict[str, object]:
    # Most projects have no such file, and loading these takes longer than reading it.
    import yaml  # noqa: PLC0415

    from ..systemyaml import StrictLoader  # noqa: PLC0415

    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)  # noqa: S506 - safe
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise BootunionError("file-missing", text, subject=str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        invalid(path, f"is not YAML: {' '.join(str(error).split())}")
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        invalid(path, "is not a mapping of keys to values")
    for key in raw:
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, 1)
            invalid(
                path, f"has the unknown key `{key}`{f'; did you mean `{near[0]}`?' if near else ''}"
            )
    return raw


def _texts(path: Path, values: dict[str, object], key: str) -> tuple[str, ...]:
    """One text, or a list of them."""
    value = values.get(key, [])
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        invalid(path, f"`{key}` is neither a text nor a list of texts")
    return tuple(found)


def _beside(top: Path, place: str) -> str:
    """A place as written in a file of `top`: relative to it."""
    return place if "://" in place else str(top / Path(place).expanduser())
