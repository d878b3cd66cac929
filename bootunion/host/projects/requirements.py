"""requirements.txt with hashes, as pip reads it (pip's documentation, "Requirements File Format").

Each requirement names one version and its digests; what pip would resolve is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bootunion.errors import BootunionError

from .wanted import Candidate, Read, Sources, Wanted, invalid

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_COMMENT = re.compile(r"(^|\s+)#.*$")
_PLAIN = re.compile(r"[ !#-&(-\[\]-~]*\Z")
# Of PEP 508 and PEP 440 what nearly every line of a lock file is; `packaging` reads the others.
_PINNED = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?) *== *"
    r"(?P<version>[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc|\.post|\.dev)[0-9]+)?)\Z"
)
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_MOST_DEEP = 16  # files that name files
_INDEX = ("-i", "--index-url", "--pypi-url")
_INCLUDE = ("-r", "--requirement")
_NO_VALUE = ("--no-index", "--require-hashes", "--pre", "--prefer-binary")
# Nothing is resolved and nothing is built, so that these change nothing.
_WITHOUT_EFFECT = ("--only-binary", "--use-feature", "-c", "--constraint", "--trusted-host")


def read(path: Path, markers: Mapping[str, str], environment: Mapping[str, str]) -> Read:
    """What a requirements file wants of an interpreter with these `markers`.

    Raises BootunionError project-invalid, hashes-missing, sdist-only, file-missing.
    """
    reader = _Reader(markers, environment)
    reader.file(path, 0)
    wanted: dict[str, Wanted] = {}
    for one in reader.wanted:
        before = wanted.setdefault(one.name, one)
        if (before.version, before.hashes) != (one.version, one.hashes):
            invalid(path, f"asks for {before.title} and for {one.title}")
    return Read(
        tuple(wanted.values()), tuple(reader.inputs),
        Sources(tuple(reader.extra), tuple(reader.find_links)), reader.index, reader.no_index,
        closed=True, variables=tuple(sorted(reader.variables)),
    )  # fmt: skip


def _split(text: str) -> list[str]:
    """As shlex.split, which takes milliseconds for a wheel's fifty digests."""
    # Nothing but words of printable ASCII: there are no quotes to heed and no other white space.
    if _PLAIN.match(text):
        return text.split()
    import shlex  # noqa: PLC0415

    return shlex.split(text)


class _Reader:
    def __init__(self, markers: Mapping[str, str], environment: Mapping[str, str]) -> None:
        self._markers = {**markers, "extra": ""}
        self._environment = environment
        self.wanted: list[Wanted] = []
        self.inputs: list[str] = []
        self.extra: list[str] = []
        self.find_links: list[str] = []
        self.variables: set[str] = set()
        self.index: str | None = None
        self.no_index = False
        self._path = Path()

    def _wrong(self, what: str) -> NoReturn:
        invalid(self._path, what)

    def file(self, path: Path, depth: int) -> None:
        if depth > _MOST_DEEP:
            self._wrong("names files that name files without an end")
        self.inputs.append(str(path))
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            what = f"cannot be read: {error.strerror}"
            raise BootunionError("file-missing", what, subject=str(path)) from None
        except UnicodeDecodeError:
            invalid(path, "is not UTF-8")
        for number, line in _lines(text):
            self._path = path
            try:
                self._line(self._filled(line), depth)
            except ValueError as error:  # packaging's InvalidRequirement is one
                self._wrong(f"line {number}: {' '.join(str(error).split())[:300]}")

    def _filled(self, line: str) -> str:
        """With the values of ${VARIABLES}; those that are not set stay as they are, as with pip."""

        def value(match: re.Match[str]) -> str:
            self.variables.add(match[1])
            return self._environment.get(match[1]) or match[0]

        return _VARIABLE.sub(value, line)

    def _line(self, line: str, depth: int) -> None:
        words = line.split(" ")
        count = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
        options = list(_options(_split(" ".join(words[count:]))))
        if count:
            self._requirement(" ".join(words[:count]).strip(), options)
        else:
            for name, value in options:
                self._option(name, value, depth)

    def _option(self, name: str, value: str, depth: int) -> None:
        if name in _INCLUDE:
            here = self._path
            self.file(here.parent / value, depth + 1)
            self._path = here
        elif name in _INDEX:
            self.index = value
        elif name == "--extra-index-url":
            self.extra.append(value)
        elif name in ("-f", "--find-links"):
            place = value if "://" in value else str(self._path.parent / value)
            self.find_links.append(place)
        elif name == "--no-index":
            self.no_index = True
        elif name in ("-e", "--editable"):
            text = f"asks for {value!r} to be installed from its sources"
            raise BootunionError("sdist-only", text, subject=str(self._path))
        elif name not in (*_NO_VALUE, *_WITHOUT_EFFECT):
            raise ValueError(f"the option {name} is not known here")

    def _requirement(self, text: str, options: list[tuple[str, str]]) -> None:
        hashes = set()
        for name, value in options:
            if name != "--hash":
                raise ValueError(f"the option {name} of {text} is not known here")
            algorithm, _, digest = value.partition(":")
            if algorithm == "sha256":
                if _SHA256.match(digest.lower()) is None:
                    raise ValueError(f"{digest[:80]!r} is no SHA-256")
                hashes.add(digest.lower())
        pinned = _PINNED.match(text)
        if pinned is not None and hashes:
            name = re.sub(r"[-_.]+", "-", pinned["name"]).lower()  # PEP 503
            self.wanted.append(Wanted(name, pinned["version"], frozenset(hashes), everywhere=True))
        else:
            self._other_requirement(text, frozenset(hashes))

    def _other_requirement(self, text: str, hashes: frozenset[str]) -> None:
        """One with a marker, extras or an address, or one that is refused."""
        # Apart from it, for what it imports takes longer than reading most files.
        from packaging.markers import (  # noqa: PLC0415
            UndefinedComparison,
            UndefinedEnvironmentName,
        )
        from packaging.requirements import Requirement  # noqa: PLC0415

        one = self._bare(text) or Requirement(text)
        try:
            if one.marker is not None and not one.marker.evaluate(dict(self._markers)):
                return
        except (UndefinedEnvironmentName, UndefinedComparison) as error:
            raise ValueError(f"the marker of {text}: {error}") from None
        self.wanted.append(self._wanted(one, hashes))

    def _bare(self, text: str) -> Requirement | None:
        """A wheel by its address or path, without a name before it."""
        place, _, marker = text.partition(" ;")
        place = place.strip()
        packed = place.endswith((".whl", ".tar.gz", ".zip")) or "://" in place
        if not packed or "@ " in place:
            return None
        from packaging.requirements import Requirement  # noqa: PLC0415

        from ..wheels import describing  # noqa: PLC0415

        if "://" not in place:
            place = (self._path.parent / place).resolve().as_uri()
        name = describing.parse_name(_file_name(place, self._path)).project
        return Requirement(f"{name} @ {place}{f' ; {marker}' if marker else ''}")

    def _wanted(self, one: Requirement, hashes: frozenset[str]) -> Wanted:
        from packaging.utils import canonicalize_name  # noqa: PLC0415

        from ..wheels import describing  # noqa: PLC0415

        name = canonicalize_name(one.name)
        extras = frozenset(canonicalize_name(extra) for extra in one.extras)
        if one.url is not None:
            place, _, fragment = one.url.partition("#")
            if fragment.startswith("sha256=") and not hashes:
                hashes = frozenset({fragment.removeprefix("sha256=").lower()})
            file_name = _file_name(place, self._path)
            self._need(hashes, one)
            from urllib.parse import urljoin  # noqa: PLC0415

            base = f"{self._path.parent.resolve().as_uri()}/"
            where = Candidate(file_name, urljoin(base, place), next(iter(hashes)))
            version = str(describing.parse_name(file_name).version)
            return Wanted(name, version, hashes, (where,), extras=extras)
        pins = [each.version for each in one.specifier
                if each.operator in ("==", "===") and not each.version.endswith(".*")]  # fmt: skip
        if len(pins) != 1 or len(one.specifier) != 1:
            text = f"{str(one)[:200]} does not name one version with =="
            raise BootunionError("hashes-missing", text, subject=str(self._path))
        self._need(hashes, one)
        return Wanted(name, pins[0], hashes, everywhere=True, extras=extras)

    def _need(self, hashes: frozenset[str], one: Requirement) -> None:
        if not hashes:
            text = f"{str(one)[:200]} has no --hash=sha256:…"
            raise BootunionError("hashes-missing", text, subject=str(self._path))


def _file_name(place: str, subject: Path) -> str:
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415

    name = unquote(os.path.basename(urlsplit(place).path))
    if not name.endswith(".whl"):
        text = f"asks for {name or place!r}, which is no wheel"
        raise BootunionError("sdist-only", text, subject=str(subject))
    return name


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Options and their values: --name=value, --name value, -nvalue. Raises ValueError."""
    waiting = iter(words)
    for word in waiting:
        name, equals, value = word.partition("=")
        if not word.startswith("--") and len(word) > 2:
            name, equals, value = word[:2], "=", word[2:].removeprefix("=")
        if not equals and name not in _NO_VALUE:
            value = next(waiting, "")
        if not word.startswith("-") or (not value and name not in _NO_VALUE):
            raise ValueError(f"{word!r} stands where an option with its value should be")
        yield name, value


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first line, without comments: pip's own rules."""
    joined: list[str] = []
    first = 0
    for number, line in enumerate(text.splitlines(), 1):
        comment = _COMMENT.match(line) is not None
        first = first if joined else number
        if line.endswith("\\") and not comment:
            joined.append(line.strip("\\"))
            continue
        joined.append(f" {line}" if comment else line)
        whole = _COMMENT.sub("", "".join(joined)).strip()
        joined = []
        if whole:
            yield first, whole
    whole = _COMMENT.sub("", "".join(joined)).strip()
    if whole:
        yield first, whole
