"""system.yaml: what a person writes to say what a root is made of."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bootunion import package, plan, systemlist
from bootunion.errors import BootunionError
from bootunion.systemlist import Layer, SystemList

from . import mergedusr
from .approving import Approval

_KEYS = {
    "name": str, "architecture": str, "suites": list, "sources": str, "packages": list,
    "local": list, "optional": list, "upper": str, "commands": list, "floor": int, "expires": int,
    "allow-whiteouts": list, "tries": int, "corruption": str, "good-when": list,
    "approve": list, "format": str, "union": str,
}  # fmt: skip
_LOCAL_KEYS = {"directory": str, "name": str, "version": str}
_APPROVAL_KEYS = {"path": str, "winner": str, "loser": str}
_REQUIRED = ("name", "suites", "packages")


class Local(NamedTuple):
    """A package that is not apt's: a .deb file, or a directory with a name and a version."""

    path: Path
    name: str = ""
    version: str = ""


class System(NamedTuple):
    """A system.yaml, checked. Paths are absolute; `sources` "" means the host's own.

    `allow_whiteouts` are paths of the root, relative to it, where /usr is merged.
    """

    name: str
    suites: tuple[str, ...]
    packages: tuple[str, ...]
    architecture: str = "amd64"
    sources: str = ""
    local: tuple[Local, ...] = ()
    optional: tuple[str, ...] = ()
    upper: str = systemlist.UPPER_VOLATILE
    commands: tuple[str, ...] = ()
    floor: int = 0
    expires: int = 0
    allow_whiteouts: tuple[str, ...] = ()
    tries: int = systemlist.DEFAULT_TRIES
    corruption: str = systemlist.EIO
    good_when: tuple[str, ...] = ("multi-user.target",)
    approve: tuple[Approval, ...] = ()
    format: str = package.SQUASHFS
    union: str = plan.UNION_LAYERS

    def need(self, name: str) -> str:
        """Whether a package is required or optional."""
        return systemlist.OPTIONAL if name in self.optional else systemlist.REQUIRED

    def as_list(self, generation: int, created: int, layers: tuple[Layer, ...]) -> SystemList:
        """The list of these layers, but for what follows from the finished layers' contents."""
        return SystemList(
            self.name, generation, self.floor, created, self.architecture, "", layers,
            self.upper, "0" * 64, expires=self.expires, tries=self.tries,
            corruption=self.corruption, good_when=self.good_when,
        )  # fmt: skip


class StrictLoader(yaml.SafeLoader):
    """The safe loader, refusing a key that stands twice: YAML would keep the last in silence."""


def _mapping(loader: StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[object] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"the key {key!r} stands twice",
                                       problem_mark=key_node.start_mark)  # fmt: skip
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(path: Path) -> System:
    """The system that `path` describes.

    Raises BootunionError file-missing, or system-invalid with the key or the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = yaml.load(text, Loader=StrictLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise BootunionError("file-missing", what, subject=str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        what = " ".join(str(error).split())
        raise BootunionError("system-invalid", f"is not YAML: {what}", subject=str(path)) from None
    return _Reader(path).system(raw)


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._base = path.resolve().parent

    def _wrong(self, what: str) -> BootunionError:
        return BootunionError("system-invalid", what, subject=str(self._path))

    def _check(self, raw: object, keys: Mapping[str, type], where: str) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise self._wrong(f"{where} is not a mapping of keys to values")
        for key, value in raw.items():
            if key not in keys:
                near = difflib.get_close_matches(str(key), keys, 1)
                hint = f"; did you mean `{near[0]}`?" if near else ""
                raise self._wrong(f"{where} has the unknown key `{key}`{hint}")
            if not isinstance(value, keys[key]) or isinstance(value, bool):
                raise self._wrong(f"`{key}` in {where} is not a {_KIND[keys[key]]}")
        return raw

    def system(self, raw: object) -> System:
        values = self._check(raw, _KEYS, "the file")
        for key in _REQUIRED:
            if key not in values:
                raise self._wrong(f"the key `{key}` is missing")
        if not systemlist.LIST_NAME.match(values["name"]):
            raise self._wrong(f"`name`: {values['name']!r} is not the name of a list")
        for key in ("suites", "packages", "commands", "optional"):
            for item in values.get(key, ()):
                if not isinstance(item, str) or not item or item.startswith("-"):
                    raise self._wrong(f"`{key}` holds {item!r}, which is not a name")
        self._check_policy(values)
        local = tuple(self._local(item) for item in values.pop("local", ()))
        whiteouts = tuple(
            self._root_path(item, "allow-whiteouts") for item in values.pop("allow-whiteouts", ())
        )
        approve = tuple(self._approval(item) for item in values.pop("approve", ()))
        texts: dict[str, Any] = {
            key.replace("-", "_"): tuple(value) if isinstance(value, list) else value
                 for key, value in values.items()}  # fmt: skip
        system = System(**texts, local=local, allow_whiteouts=whiteouts, approve=approve)
        package.check_architecture(system.architecture, system.name)
        return system

    def _check_policy(self, values: dict[str, Any]) -> None:
        """Refuse a policy that no list could have."""
        if values.get("upper", "volatile") not in systemlist.UPPERS:
            raise self._wrong(f"`upper` is not one of {', '.join(systemlist.UPPERS)}")
        if values.get("corruption", systemlist.EIO) not in systemlist.CORRUPTIONS:
            raise self._wrong(f"`corruption` is not one of {', '.join(systemlist.CORRUPTIONS)}")
        if values.get("format", package.SQUASHFS) not in package.IMAGE_FORMATS:
            raise self._wrong(f"`format` is not one of {', '.join(package.IMAGE_FORMATS)}")
        self._check_union(values)
        for key in ("floor", "expires", "tries"):
            if values.get(key, 0) < 0:
                raise self._wrong(f"`{key}` is below 0")
        if values.get("tries", 0) > systemlist.MAX_TRIES:
            raise self._wrong(f"`tries` is above {systemlist.MAX_TRIES}")
        for unit in values.get("good-when", ()):
            if not isinstance(unit, str) or not systemlist.is_unit(unit):
                raise self._wrong(f"`good-when` holds {unit!r}, which is not a systemd unit")

    def _check_union(self, values: dict[str, Any]) -> None:
        ways = (plan.UNION_LAYERS, plan.UNION_INDEX)
        if values.get("union", plan.UNION_LAYERS) not in ways:
            raise self._wrong(f"`union` is not one of {', '.join(ways)}")
        if values.get("union") != plan.UNION_INDEX:
            return
        if values.setdefault("format", package.EROFS_UNCOMPRESSED) != package.EROFS_UNCOMPRESSED:
            text = "an index points into images that are not compressed"
            raise self._wrong(
                f"`union: index` needs `format: {package.EROFS_UNCOMPRESSED}`: {text}"
            )
        if values.get("optional"):
            text = "an index points into every package, so that none can be left out"
            raise self._wrong(f"`union: index` and `optional` exclude each other: {text}")

    def _root_path(self, item: object, key: str) -> str:
        parts = item.split("/") if isinstance(item, str) else []
        if len(parts) < 2 or parts[0] or any(part in ("", ".", "..") for part in parts[1:]):
            raise self._wrong(f"`{key}` holds {item!r}, which is not an absolute path")
        return mergedusr.move("/".join(parts[1:]))

    def _approval(self, item: object) -> Approval:
        values = self._check(item, _APPROVAL_KEYS, "an entry of `approve`")
        for key in _APPROVAL_KEYS:
            if key not in values:
                raise self._wrong(f"an entry of `approve` has no `{key}`")
        for key in ("winner", "loser"):
            package.check_name(values[key])
        return Approval(
            self._root_path(values["path"], "approve"), values["winner"], values["loser"]
        )

    def _local(self, item: object) -> Local:
        if isinstance(item, str):
            return Local(self._base / item)
        values = self._check(item, _LOCAL_KEYS, "an entry of `local`")
        for key in _LOCAL_KEYS:
            if key not in values:
                raise self._wrong(f"an entry of `local` has no `{key}`")
        package.check_name(values["name"])
        package.check_version(values["version"], values["name"])
        return Local(self._base / values["directory"], values["name"], values["version"])


_KIND = {str: "text", list: "list", int: "whole number"}
