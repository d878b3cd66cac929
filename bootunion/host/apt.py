"""Resolving and downloading with apt itself, in a private root.

apt's own signature checks stay on and its choice of packages is its own. Of the host's apt only
the sources (when none are given), the keys and how to reach the network are used; nothing of it is
written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bootunion.errors import BootunionError

from . import deb, run

# What debootstrap calls a minimal system (the essential packages and priority `required`; scripts
# rely on both without depending on them), apt, and the promise of a merged /usr, which importing
# keeps.
_BASE = ("?essential", "?priority(required)", "apt", "usr-is-merged")
# How to reach the sources is the host's business; what apt may trust is not taken over.
_HOST_SETTINGS = re.compile(
    r"Acquire::(?:https?(?:::|\s)|Check-Valid-Until\s|Check-Date\s|Retries\s|ForceIPv)"
)
_RECORDS = re.compile(r"^Inst (\S+) .*?\((\S+) .*\[(\w+)\]\)", re.MULTILINE)
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
                # apt would use a file: package in place; what is read later has to be our copy.
                fields["uris"] = re.sub(r"(^|\s)file:", r"\1copy:", fields.get("uris", ""))
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
        self._config = directory / "apt.conf"
        for part in ("etc/preferences.d", "etc/apt.conf.d", "state/lists/partial",
                     "cache/archives/partial", "log"):  # fmt: skip
            (directory / part).mkdir(parents=True, exist_ok=True)
        (directory / "etc/bootunion.sources").write_text(sources, encoding="utf-8")
        (directory / "status").write_text("", encoding="utf-8")
        self._config.write_text(self._settings(architecture), encoding="utf-8")

    def _settings(self, architecture: str) -> str:
        # A file, because apt reads APT_CONFIG before Dir::Etc::Parts but options on the command
        # line after it: with options alone the host's apt.conf.d takes effect, and with it hooks
        # such as the `rm` of docker-clean that change the host.
        here = self._directory
        own = {
            "Dir::Etc": f"{here}/etc",
            "Dir::Etc::Main": "apt.conf",
            "Dir::Etc::Parts": f"{here}/etc/apt.conf.d",
            "Dir::Etc::SourceList": "bootunion.sources",
            "Dir::Etc::SourceParts": "-",
            # Sources without Signed-By are checked against the host's keys, as on the host.
            "Dir::Etc::Trusted": "/etc/apt/trusted.gpg",
            "Dir::Etc::TrustedParts": "/etc/apt/trusted.gpg.d",
            "Dir::Etc::Netrc": "/etc/apt/auth.conf",
            "Dir::Etc::NetrcParts": "/etc/apt/auth.conf.d",
            "Dir::State": f"{here}/state",
            "Dir::State::Status": f"{here}/status",
            "Dir::Cache": f"{here}/cache",
            "Dir::Log": f"{here}/log",
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Install-Recommends": "no",
            # apt would drop to a user that cannot read a private directory.
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        return "".join(f'{key} "{value}";\n' for key, value in own.items()) + _host_settings()

    def update(self) -> None:
        """Fetch and check the indexes. Raises BootunionError apt-failed."""
        # Without the option a source that cannot be reached is a warning, and old indexes serve.
        self._apt("reading the package indexes", "update", "--error-on=any")

    def download(self, packages: Sequence[str], local: Sequence[Path] = ()) -> tuple[Path, ...]:
        """The .deb files that `packages` need on an empty system, sorted by file name.

        `local` are .deb files that are part of the system, too: what they need is among the
        result, they themselves are not. Raises BootunionError apt-failed with apt's own words
        when they cannot be had.
        """
        wanted = ["install", "--yes", *_BASE, *packages, *(str(path.resolve()) for path in local)]
        # Simulating lists them all; --print-uris would leave out what is downloaded already.
        said = self._apt("resolving the packages", "--simulate", *wanted)
        self._apt("downloading the packages", "--download-only", *wanted)
        theirs = {deb.read_control(path).fields["Package"] for path in local}
        names = sorted(
            f"{name.partition(':')[0]}_{version.replace(':', '%3a')}_{architecture}.deb"
            for name, version, architecture in _RECORDS.findall(said)
            if name.partition(":")[0] not in theirs
        )
        found = tuple(self._directory / "cache/archives" / name for name in names)
        for path in found:
            if not path.is_file():
                raise BootunionError("apt-failed", f"apt did not download {path.name}")
        return found

    def _apt(self, what: str, *words: str) -> str:
        argv = ["apt-get", "-q", *words]  # -qq would leave out why dependencies are unmet
        env = {"APT_CONFIG": str(self._config), "DEBIAN_FRONTEND": "noninteractive"}
        with run.popen(argv, env=env) as child:
            out, err = child.communicate()
        if child.returncode != 0:
            raise run.failure(
                argv, child.returncode, _words(out, err), what=what, code="apt-failed"
            )
        return out.decode("utf-8", "replace")


def _words(out: bytes, err: bytes) -> bytes:
    """What apt says that explains a failure: it puts unmet dependencies on standard output."""
    unmet = [line for line in out.splitlines() if b" : " in line]
    errors = [line for line in err.splitlines() if line.startswith(b"E: ")]
    return b"\n".join([*unmet[:2], *errors[-2:]]) or err


def _host_settings() -> str:
    """Proxies and the like from the host's apt, as lines of a configuration file."""
    said = run.run(["apt-config", "dump"], what="reading apt's settings").stdout.decode()
    return "".join(f"{line}\n" for line in said.splitlines() if _HOST_SETTINGS.match(line))
