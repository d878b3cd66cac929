"""dpkg's database of a union, made from the records that the packages carry.

Pure but for `join`, which writes what dpkg would have written while unpacking (see `deb`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from bootunion.errors import BootunionError

from . import deb

Stanza = Mapping[str, str]
_DEPENDENCIES = ("Pre-Depends", "Depends")


class Database(NamedTuple):
    """A joined database: record name (`libc6:amd64`) → its stanza, and the triggers to fire."""

    stanzas: dict[str, Stanza]
    triggers: tuple[str, ...]

    def minimal(self) -> list[str]:
        """The records that a script may use without depending on them, and what they need.

        Policy 3.8 promises that essential packages work when any other package's script runs;
        debootstrap gives the same for priority `required`.
        """
        return self.closure(
            record
            for record, fields in self.stanzas.items()
            if fields.get("Essential") == "yes" or fields.get("Priority") == "required"
        )

    def closure(self, wanted: Iterable[str]) -> list[str]:
        """The records in `wanted` and all that they depend on, sorted."""
        providers: dict[str, list[str]] = {}
        for record, fields in self.stanzas.items():
            for name in (fields["Package"], *_names(fields.get("Provides", ""))):
                providers.setdefault(name, []).append(record)
        found: set[str] = set()
        waiting = list(wanted)
        while waiting:
            record = waiting.pop()
            if record not in found and record in self.stanzas:
                found.add(record)
                for key in _DEPENDENCIES:
                    for name in _names(self.stanzas[record].get(key, "")):
                        waiting += providers.get(name, ())
        return sorted(found)

    def version(self, package: str) -> str:
        """The version of a package, "" when it is not part of the union."""
        found = (one for one in self.stanzas.values() if one["Package"] == package)
        return next(found, {}).get("Version", "")


def _names(relation: str) -> list[str]:
    """The package names in a relation field: all alternatives, without versions."""
    return re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]*)", relation)


def parse(text: str) -> Stanza:
    """One stanza of a status file; folded lines stay joined by newlines."""
    fields: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        if line[:1].isspace() and key:
            fields[key] += "\n" + line
        elif ":" in line:
            key, _, value = line.partition(":")
            fields[key] = value.strip()
    return fields


def join(root: Path, architecture: str) -> Database:
    """Make the status file and the trigger index in the union at `root`.

    Raises BootunionError deb-invalid for a record that is filed under another package's name.
    """
    admin = root / deb.ADMIN
    for name in ("alternatives", "info", "parts", "triggers", "updates", "status.d"):
        (admin / name).mkdir(parents=True, exist_ok=True)
    parts = sorted((root / deb.STATUS_PARTS).iterdir())
    texts = {part.name: part.read_text(errors="surrogateescape") for part in parts}
    stanzas = {record: parse(text) for record, text in texts.items()}
    for record, fields in stanzas.items():
        if fields.get("Package") != record.partition(":")[0]:
            text = "the package's dpkg record is not its own"
            raise BootunionError("deb-invalid", text, subject=record)
    (admin / "status").write_text("\n".join(texts.values()), errors="surrogateescape")
    (admin / "arch").write_text(f"{architecture}\n")
    (admin / "info/format").write_text("1\n")
    for name in ("available", "diversions", "statoverride"):
        (admin / name).touch()
    directives = _directives(admin / "info")
    interests = _interests(directives)
    for name, lines in interests.items():
        (admin / "triggers" / name).write_text("".join(f"{line}\n" for line in sorted(lines)))
    (admin / "triggers/Unincorp").touch()
    return Database(stanzas, _fired(directives, interests, admin / "info"))


def _directives(info: Path) -> list[tuple[str, str, str]]:
    """(record, directive, trigger) of every .triggers file (deb-triggers(5))."""
    found = []
    for path in sorted(info.glob("*.triggers")):
        for line in path.read_text(errors="surrogateescape").splitlines():
            words = line.partition("#")[0].split()
            if len(words) == 2:
                found.append((path.name.removesuffix(".triggers"), words[0], words[1]))
    return found


def _interests(directives: Iterable[tuple[str, str, str]]) -> dict[str, set[str]]:
    """Who waits for which trigger: the files of /var/lib/dpkg/triggers (dpkg's triggers.txt).

    `File` holds the paths; each named trigger has a file of its own.
    """
    found: dict[str, set[str]] = {"File": set()}
    for record, directive, trigger in directives:
        if directive.startswith("interest"):
            who = record + ("/noawait" if directive == "interest-noawait" else "")
            if trigger.startswith("/"):
                found["File"].add(f"{trigger} {who}")
            else:
                found.setdefault(trigger, set()).add(who)
    return found


def _fired(
    directives: Iterable[tuple[str, str, str]], interests: Mapping[str, set[str]], info: Path
) -> tuple[str, ...]:
    """The triggers that unpacking the packages would have activated and somebody waits for."""
    activated = {trigger for _, directive, trigger in directives if directive.startswith("act")}
    watched = {line.rpartition(" ")[0] for line in interests["File"]}
    for listed in sorted(info.glob("*.list")) if watched else ():
        for path in listed.read_text(errors="surrogateescape").splitlines():
            activated |= {place for place in watched if f"{path}/".startswith(f"{place}/")}
    waited_for = watched | (interests.keys() - {"File"})
    return tuple(sorted(activated & waited_for))


def unfinished(root: Path) -> list[str]:
    """The packages that dpkg does not call installed, with their state."""
    found = []
    text = (root / deb.ADMIN / "status").read_text(errors="surrogateescape")
    for block in text.split("\n\n"):
        fields = parse(block)
        state = fields.get("Status", "install ok installed").split()[-1]
        if state != "installed":
            found.append(f"{fields['Package']} ({state})")
    return found
