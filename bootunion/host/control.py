"""A .deb's control file and dpkg's stanza of it: pure, bytes in, bytes out (deb-control(5))."""

from __future__ import annotations

import re
from collections.abc import Mapping

_FIELD = re.compile(r"([!-9;-~]+):[ \t]*(.*)\Z")
# The order and spelling in which dpkg 1.21 writes the status file; other fields follow in the
# source's order. Found by comparing with `dpkg --unpack` (tests/test_deb.py).
_ORDER = (
    "Package", "Essential", "Protected", "Status", "Priority", "Section", "Installed-Size",
    "Origin", "Maintainer", "Bugs", "Architecture", "Multi-Arch", "Source", "Version", "Replaces",
    "Provides", "Depends", "Pre-Depends", "Recommends", "Suggests", "Breaks", "Conflicts",
    "Enhances", "Conffiles", "Description",
)  # fmt: skip
_SPELLING = {name.lower(): name for name in _ORDER}


def parse(data: bytes) -> dict[str, str]:
    """The fields of a control file by name, continuation lines as they stand.

    Names that dpkg knows are spelt as dpkg spells them. Raises ValueError for what is no such file.
    """
    fields: dict[str, str] = {}
    last = ""
    for line in data.decode("utf-8", "surrogateescape").rstrip("\n").split("\n"):
        if line[:1] in (" ", "\t") and last and line.strip():
            fields[last] += "\n" + line.rstrip()
            continue
        found = _FIELD.match(line)
        if found is None:
            raise ValueError(f"has the line {line[:80]!r}")
        last = _SPELLING.get(found[1].lower(), found[1])
        if last in fields:
            raise ValueError(f"has the field {last} twice")
        fields[last] = found[2].rstrip()
    return fields


def conffiles(data: bytes) -> dict[str, str]:
    """The paths of a `conffiles` file, each with its flag ("" for none).

    Raises ValueError for a last line without its newline, which dpkg takes for a cut one.
    """
    found = {}
    if data and not data.endswith(b"\n"):
        raise ValueError("conffiles has no final newline")
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        # Only what stands before the path can be a flag: paths may have spaces.
        flag, slash, path = line.strip().partition("/")
        if slash:
            found["/" + path] = flag.strip()
    return found


def stanza(
    fields: Mapping[str, str], listed: Mapping[str, str], digests: Mapping[str, str]
) -> bytes:
    """The package's paragraph of the status file, state `unpacked`.

    Values stand as in the .deb; dpkg restyles some (`a(>=1)`, `Essential: no`) when it next writes.
    `listed` are the conffiles with their flags, `digests` MD5 by path. A digest stands where dpkg
    has `newconffile` until configuring: here the file is in its place already.
    """
    lines = []
    for path, flag in listed.items():
        words = [path, digests.get(path, "newconffile"), flag]
        lines.append("\n " + " ".join(word for word in words if word))
    full = {**fields, "Status": "install ok unpacked"}
    if lines:
        full["Conffiles"] = "".join(lines)
    names = [name for name in _ORDER if full.get(name)]
    names += [name for name in full if name not in _ORDER and full[name]]
    # dpkg's form has no blank behind the colon of a field that begins on the next line.
    text = "".join(f"{name}: {full[name]}\n".replace(": \n", ":\n", 1) for name in names)
    return text.encode("utf-8", "surrogateescape")
