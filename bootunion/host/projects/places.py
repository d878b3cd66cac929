"""Where a user's packages and key lie (XDG Base Directory Specification)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def cache(environment: Mapping[str, str]) -> Path:
    """The user's store: ~/.cache/bootunion."""
    return _base("XDG_CACHE_HOME", ".cache", environment) / "bootunion"


def config(environment: Mapping[str, str]) -> Path:
    """Where the user's key and trust store are: ~/.config/bootunion."""
    return _base("XDG_CONFIG_HOME", ".config", environment) / "bootunion"


def _base(name: str, usual: str, environment: Mapping[str, str]) -> Path:
    given = environment.get(name, "")
    # The specification: a relative path is invalid, and ignored.
    if given.startswith("/"):
        return Path(given)
    home = environment.get("HOME", "")
    return (Path(home) if home.startswith("/") else Path.home()) / usual
