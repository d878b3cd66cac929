"""Where a machine keeps its trust store, and a person packages and keys (XDG Base Directories)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

STORE = Path("/pkgs")
TRUST = Path("/etc/bootunion/trust")
# The initramfs is gone on a running machine; the agent left the anchor that it booted with.
BOOTED_TRUST = Path("/run/bootunion/trust")


def machine_trust() -> Path:
    """The machine's own trust store; where it has none, the one that it booted with."""
    booted = BOOTED_TRUST.is_dir() and not TRUST.is_dir()
    return BOOTED_TRUST if booted else TRUST


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
