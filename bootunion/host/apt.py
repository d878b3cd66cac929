"""Resolving and downloading with apt itself, in a private root.

apt's own signature checks stay on and its choice of packages is its own; the host's apt state is
neither read (but for the sources, when none are given) nor written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bootunion.errors import BootunionError

from . import run

# The essential packages, apt, and the promise that /usr is merged, which importing keeps.
_BASE = ("?essential", "apt", "usr-is-merged")
_HOST_SOURCES = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d"))


def host_sources(suites: Sequence[str]) -> str:
    """The host's apt sources of exactly these suites, as deb822 stanzas.

    Third-party sources of the host never get into a composed system unless their suite is named.
    Raises BootunionError sources-missing when a suite has no source.
    """
    files = []
    for place in _HOST_SOURCES:
        files += sorted(place.iterdir()) if place.is_dir() else [place]
    stanzas: list[str] = []
    found: set[str] = set()
    for file in files:
        if not file.is_file():
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        parts = _deb822(text) if file.suffix == ".sources" else _one_line(text)
        for fields in parts:
            wanted = [suite for suite in fields.get("suites", "").split() if suite in suites]
            if wanted and "deb" in fields.get("types", "deb").split():
                found.update(wanted)
                fields.update(types="deb", suites=" ".join(wanted))
                stanzas.append("".join(f"{key}: {value}\n" for key, value in fields.items()))
    missing = sorted(set(suites) - found)
    if missing:
        text = f"this host's apt has no source for the suite {missing[0]}"
        raise BootunionError("sources-missing", text, subject="suites")
    return "\n".join(stanzas)


def _deb822(text: str) -> list[dict[str, str]]:
    stanzas = []
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        fields: dict[str, str] = {}
        key = ""
        for line in lines:
            if line[0].isspace() and key:
                fields[key] += "\n" + line
            else:
                name, _, value = line.partition(":")
                key = name.strip().lower()
                fields[key] = value.strip()
        if fields.get("enabled", "yes") != "no":
            stanzas.append(fields)
    return stanzas


def _one_line(text: str) -> list[dict[str, str]]:
    stanzas = []
    for line in text.splitlines():
        found = re.match(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line.strip())
        if found:
            options, uri, suite, components = found.groups()
            fields = {"types": "deb", "uris": uri, "suites": suite, "components": components}
            signed = re.search(r"signed-by=(\S+)", options or "")
            if signed:
                fields["signed-by"] = signed.group(1)
            stanzas.append(fields)
    return stanzas


class Apt:
    """apt in a private root below `directory`, for one architecture."""

    def __init__(self, directory: Path, sources: str, architecture: str) -> None:
        self._directory = directory
        for part in ("etc/apt/preferences.d", "etc/apt/apt.conf.d", "state/lists/partial",
                     "cache/archives/partial", "log"):  # fmt: skip
            (directory / part).mkdir(parents=True, exist_ok=True)
        (directory / "etc/apt/bootunion.sources").write_text(sources, encoding="utf-8")
        (directory / "status").write_text("", encoding="utf-8")
        self._options = [
            f"-oDir::Etc={directory}/etc/apt",
            "-oDir::Etc::SourceList=bootunion.sources",
            "-oDir::Etc::SourceParts=-",
            f"-oDir::State={directory}/state",
            f"-oDir::State::status={directory}/status",
            f"-oDir::Cache={directory}/cache",
            f"-oDir::Log={directory}/log",
            f"-oAPT::Architecture={architecture}",
            f"-oAPT::Architectures={architecture}",
            "-oAPT::Install-Recommends=no",
            # apt would drop to a user that cannot read a private directory.
            "-oAPT::Sandbox::User=",
            "-oAcquire::Languages=none",
            "-oAcquire::Retries=3",
            "-oDebug::NoLocking=yes",
        ]

    def update(self) -> None:
        """Fetch and check the indexes. Raises BootunionError apt-failed."""
        self._apt("reading the package indexes", "update")

    def download(self, packages: Sequence[str]) -> tuple[Path, ...]:
        """The .deb files that `packages` need on an empty system, sorted by file name.

        Raises BootunionError apt-failed with apt's own words when they cannot be had.
        """
        wanted = ["install", "--yes", *_BASE, *packages]
        # Simulating lists them all; --print-uris would leave out what is downloaded already.
        said = self._apt("resolving the packages", "--simulate", *wanted)
        found = re.findall(rb"^Inst (\S+) .*?\((\S+) .*\[(\w+)\]\)", said, re.MULTILINE)
        names = sorted(
            f"{name.decode().partition(':')[0]}_{version.decode().replace(':', '%3a')}"
            f"_{architecture.decode()}.deb"
            for name, version, architecture in found
        )
        self._apt("downloading the packages", "--download-only", *wanted)
        return tuple(self._directory / "cache/archives" / name for name in names)

    def _apt(self, what: str, *words: str) -> bytes:
        argv = ["apt-get", "-qq", *self._options, *words]
        env = {"APT_CONFIG": "/dev/null", "DEBIAN_FRONTEND": "noninteractive"}
        return run.run(argv, what=what, env=env, check_code="apt-failed").stdout
