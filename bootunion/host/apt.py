"""Resolving and downloading with apt itself, in a private root.

apt's own signature checks stay on and its choice of packages is its own. The host's apt state is
never written. What is read of it: its sources, when none are given; its keys and passwords for
mirrors; and how it reaches them (`host_settings`).
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from bootunion.errors import BootunionError

from . import run
from .store import refusing_full_disk, write_atomic

# The essential packages, apt, and the promise that /usr is merged, which importing keeps.
_BASE = ("?essential", "apt", "usr-is-merged")
_INSTALLED = re.compile(r"Inst (\S+) .*?\((\S+) .*\[(\w+)\]\)")
_URI = re.compile(r"'([^']*)' (\S+) (\d+)")
_REACHING = re.compile(r"Acquire::(?:(?:http|https|ftp)::|ForceIPv[46]$)", re.IGNORECASE)
_AGE = re.compile(r"Acquire::(?:Check-Valid-Until|Check-Date|M(?:in|ax)-ValidTime\b.*)$", re.I)
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


def host_settings(*, own_sources: bool) -> dict[str, str]:
    """What of the host's apt configuration counts here too: how its mirrors are reached.

    Proxies, TLS certificates and time limits always (`Acquire::http`, `https`, `ftp`); whether a
    mirror may be out of date only with the host's own sources. Nothing else of the host's: no
    hooks, no pins, no permission to take what is not signed.
    """
    argv = ["apt-config", "dump", "--no-empty", "--format", "%f\t%v%n"]
    said = run.run(argv, what="reading the host's apt configuration", check_code="apt-failed")
    kept = {}
    for line in said.stdout.decode(errors="replace").splitlines():
        key, tab, value = line.partition("\t")
        wanted = _REACHING.match(key) or (own_sources and _AGE.match(key))
        # A configuration file has no way to write a quote.
        if tab and wanted and '"' not in value:
            kept[key] = value
    return kept


class Resolved(NamedTuple):
    """What packages need: `debs` sorted by file name; those not here yet are in `sizes` (bytes)."""

    debs: tuple[Path, ...]
    sizes: Mapping[str, int]


class Apt:
    """apt in a private root below `directory`, for one architecture.

    A context manager: one process at a time works in a directory, others wait.
    """

    def __init__(
        self, directory: Path, sources: str, architecture: str,
        settings: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._directory = directory
        self._sources = sources
        self._settings = settings or {}
        self._lock = -1
        self._options = [
            f"-oDir::Etc={directory}/etc/apt",
            "-oDir::Etc::SourceList=bootunion.sources",
            "-oDir::Etc::SourceParts=-",
            # Keys and passwords for mirrors stay the host's: sources name them or rely on them.
            "-oDir::Etc::Trusted=/etc/apt/trusted.gpg",
            "-oDir::Etc::TrustedParts=/etc/apt/trusted.gpg.d",
            "-oDir::Etc::Netrc=/etc/apt/auth.conf",
            "-oDir::Etc::NetrcParts=/etc/apt/auth.conf.d",
            f"-oDir::State={directory}/state",
            f"-oDir::State::status={directory}/status",
            f"-oDir::Cache={directory}/cache",
            f"-oDir::Log={directory}/log",
            f"-oAPT::Architecture={architecture}",
            f"-oAPT::Architectures={architecture}",
            "-oAPT::Install-Recommends=no",
            # apt would drop to a user that cannot read a private directory.
            "-oAPT::Sandbox::User=",
            # Without this an index that cannot be had is a warning, and an old one is used.
            "-oAPT::Update::Error-Mode=any",
            "-oAcquire::Languages=none",
            "-oAcquire::Retries=3",
        ]

    def __enter__(self) -> Apt:
        etc = self._directory / "etc/apt"
        with refusing_full_disk(self._directory):
            for part in ("etc/apt/preferences.d", "state/lists/partial", "cache/archives/partial",
                         "log"):  # fmt: skip
                (self._directory / part).mkdir(parents=True, exist_ok=True)
            # A file of its own: whoever writes into a directory may lock that.
            lock = self._directory / "lock"
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            write_atomic(etc / "bootunion.sources", self._sources.encode())
            write_atomic(self._directory / "status", b"")
            # apt reads the file that APT_CONFIG names first, then Dir::Etc::Parts, then
            # Dir::Etc::Main (apt.conf(5)): both are taken out here, so nothing else is read.
            lines = {"Dir::Etc::Parts": "/dev/null", "Dir::Etc::Main": "/dev/null"}
            text = "".join(
                f'{key} "{value}";\n' for key, value in {**self._settings, **lines}.items()
            )
            write_atomic(etc / "apt.conf", text.encode(), mode=0o600)  # a proxy may have a password
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def update(self) -> None:
        """Fetch and check the indexes. Raises BootunionError apt-failed."""
        self._apt("reading the package indexes", "-qq", "update")

    def resolve(self, packages: Sequence[str]) -> Resolved:
        """The .deb files that `packages` need on an empty system.

        Raises BootunionError apt-failed with apt's own words when they cannot be had.
        """
        said: list[str] = []
        what = "resolving the packages"
        self._apt(what, "-qq", "--simulate", *_install(packages), heard=said.append)
        found = [match.groups() for line in said if (match := _INSTALLED.match(line))]
        names = sorted(
            f"{name.partition(':')[0]}_{version.replace(':', '%3a')}_{architecture}.deb"
            for name, version, architecture in found
        )
        # Simulating lists all of them, this only those that are not downloaded yet.
        said.clear()
        self._apt(what, "-qq", "--print-uris", *_install(packages), heard=said.append)
        missing = [match.groups() for line in said if (match := _URI.match(line))]
        # apt takes what it can reach by a path from there and downloads nothing.
        here = {
            name: Path(unquote(uri.removeprefix("file:")))
            for uri, name, _ in missing if uri.startswith("file:")
        }  # fmt: skip
        sizes = {name: int(size) for _, name, size in missing if name not in here}
        archives = self._directory / "cache/archives"
        return Resolved(tuple(here.get(name, archives / name) for name in names), sizes)

    def download(self, packages: Sequence[str], step: Callable[[str], None]) -> None:
        """Download what `packages` need and is not there yet; `step` gets the name of each.

        Raises BootunionError apt-failed.
        """

        def heard(line: str) -> None:
            # Get:1 http://deb.debian.org/debian bookworm/main amd64 zstd amd64 1.5.4 [700 kB]
            words = line.split()
            if len(words) > 4 and words[0].startswith("Get:") and not words[1].startswith("file:"):
                step(words[4])

        self._apt("downloading the packages", "-q", "--download-only", *_install(packages),
                  heard=heard)  # fmt: skip

    def _apt(self, what: str, *words: str, heard: Callable[[str], None] = lambda _: None) -> None:
        env = {
            "APT_CONFIG": str(self._directory / "etc/apt/apt.conf"),
            "DEBIAN_FRONTEND": "noninteractive",
        }
        argv = ["apt-get", *self._options, *words]
        run.follow(argv, what=what, env=env, heard=heard, check_code="apt-failed")


def private(cache: Path, suites: Sequence[str], sources: str, architecture: str) -> Apt:
    """apt in a private root in `cache`; the host's own sources of `suites` when `sources` is "".

    Raises BootunionError sources-missing.
    """
    settings = host_settings(own_sources=not sources)
    return Apt(cache.resolve() / "apt", sources or host_sources(suites), architecture, settings)


def _install(packages: Sequence[str]) -> list[str]:
    return ["install", "--yes", *_BASE, *packages]
