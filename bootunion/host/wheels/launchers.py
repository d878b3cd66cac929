"""Programs of a wheel: launchers for its entry points, and scripts that name their interpreter."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator

from bootunion.errors import BootunionError

PYTHON_SCRIPT = b"#!python"  # PEP 427: "#!python" and "#!pythonw" are rewritten
_GROUPS = ("console_scripts", "gui_scripts")
_NAME = re.compile(r"[^\s/\x00-\x1f][^/\x00-\x1f]{0,199}\Z")
_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")
_LAUNCHER = """\
#!{python}
import sys
from {module} import {first}
if __name__ == "__main__":
    sys.exit({function}())
"""


def launchers(entry_points: bytes, python: str, subject: str) -> Iterator[tuple[str, bytes]]:
    """The names and texts of the programs that entry_points.txt asks for.

    Raises BootunionError wheel-invalid.
    """
    parser = configparser.ConfigParser(delimiters=("=",), strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign] # names as they are
    try:
        parser.read_string(entry_points.decode("utf-8"))
    except (UnicodeDecodeError, configparser.Error) as error:
        text = f"its entry_points.txt cannot be read: {' '.join(str(error).split())[:200]}"
        raise BootunionError("wheel-invalid", text, subject=subject) from None
    seen = set()
    for group in _GROUPS:
        for name, value in parser[group].items() if parser.has_section(group) else ():
            # "module:object [extra]": the extras were for installing.
            module, colon, function = value.partition("[")[0].replace(" ", "").partition(":")
            good = colon and _DOTTED.match(module) and _DOTTED.match(function)
            if not good or _NAME.match(name) is None or name in (".", ".."):
                text = f"its entry point {name[:80]!r} is {value[:80]!r}, which names no function"
                raise BootunionError("wheel-invalid", text, subject=subject)
            if name in seen:
                continue
            seen.add(name)
            first = function.partition(".")[0]
            text = _LAUNCHER.format(python=python, module=module, first=first, function=function)
            yield name, text.encode()


def rewrite(script: bytes, python: str) -> bytes:
    """A script that begins with `PYTHON_SCRIPT`, with its interpreter's name."""
    _, newline, rest = script.partition(b"\n")
    return b"#!" + python.encode() + (newline or b"\n") + rest
