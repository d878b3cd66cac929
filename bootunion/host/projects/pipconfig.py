"""pip's configuration ("Configuration" in pip's documentation): where its users expect wheels from.

Files in pip's order, later ones first in effect: global, user, site, PIP_CONFIG_FILE; in each the
section [install] over [global]; then PIP_* of the environment.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bootunion.errors import BootunionError

from .wanted import Sources

PYPI = "https://pypi.org/simple"
_SECTIONS = ("global", "install", "environment")
_ONCE = ("config-file", "version", "help")  # not options: pip's ENV_NAMES_IGNORED
_TRUE = ("y", "yes", "t", "true", "on", "1")
DEFAULT_TIMEOUT = 15.0  # pip's


class PipConfig(NamedTuple):
    """What of pip's configuration counts here. `cert` "": the system's usual authorities."""

    sources: Sources = Sources((PYPI,))
    cert: str = ""
    client_cert: str = ""
    proxy: str = ""
    timeout: float = DEFAULT_TIMEOUT
    trusted_hosts: tuple[str, ...] = ()


def read(environment: Mapping[str, str], prefix: str = "/usr") -> PipConfig:
    """The configuration of pip as started in `environment` by an interpreter of `prefix`.

    Raises BootunionError environment-invalid.
    """
    values: dict[str, dict[str, str]] = {name: {} for name in _SECTIONS}
    if environment.get("PIP_CONFIG_FILE") != os.devnull:
        for path in _files(environment, prefix):
            _read_file(path, values)
    for key, value in environment.items():
        name = _key(key[4:]) if key.startswith("PIP_") else ""
        if name and name not in _ONCE:
            values["environment"][name] = value
    found: dict[str, str] = {}
    for section in _SECTIONS:
        found |= {key: value for key, value in values[section].items() if value}
    extra = tuple(found.get("extra-index-url", "").split())
    indexes = (found.get("index-url") or found.get("pypi-url") or PYPI, *extra)
    if found.get("no-index", "").lower() in _TRUE:
        indexes = ()
    links = tuple(
        one if "://" in one else str(Path(one).expanduser().absolute())
        for one in found.get("find-links", "").split()
    )
    try:
        timeout = float(found.get("timeout") or found.get("default-timeout") or DEFAULT_TIMEOUT)
    except ValueError:
        text = "pip's `timeout` is not a number"
        raise BootunionError("environment-invalid", text) from None
    return PipConfig(
        Sources(indexes, links), found.get("cert", ""), found.get("client-cert", ""),
        found.get("proxy", ""), timeout, tuple(found.get("trusted-host", "").split()),
    )  # fmt: skip


def _files(environment: Mapping[str, str], prefix: str) -> Iterator[Path]:
    for directory in (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
        yield Path(directory) / "pip/pip.conf"
    yield Path("/etc/pip.conf")
    given = environment.get("PIP_CONFIG_FILE", "")
    # pip leaves the user's files out where this one is there (Configuration.iter_config_files).
    if not given or not Path(given).exists():
        home = Path(environment.get("HOME") or Path.home())
        yield home / ".pip/pip.conf"
        yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"
    yield Path(prefix) / "pip.conf"
    if given:
        yield Path(given)


def _read_file(path: Path, values: dict[str, dict[str, str]]) -> None:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    except OSError:
        return  # none, or another user's
    except (configparser.Error, UnicodeDecodeError) as error:
        text = f"pip cannot read it: {' '.join(str(error).split())[:200]}"
        raise BootunionError("environment-invalid", text, subject=str(path)) from None
    for section in ("global", "install"):
        if parser.has_section(section):
            values[section] |= {_key(key): value for key, value in parser[section].items()}


def _key(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("--")
