"""A drop-in that gives one systemd service a list's root."""

from __future__ import annotations

import re
from pathlib import Path

from bootunion.errors import BootunionError
from bootunion.host.store import write_atomic

UNITS = Path("/etc/systemd/system")
NAME = "50-bootunion.conf"
# systemd.unit(5): letters, digits, ":-_.\@".
_SERVICE = re.compile(r"[A-Za-z0-9:_.\\@-]{1,200}\.service\Z")
_TEXT = """\
# Made by `bootunion service {unit} --list {name}`; `--remove` takes it away.
[Unit]
Requires=bootunion-root@{name}.service
After=bootunion-root@{name}.service

[Service]
RootDirectory=/run/bootunion/roots/{name}
MountAPIVFS=yes
{bound}"""


def drop_in(unit: str, name: str, bound: tuple[str, ...]) -> str:
    """The drop-in that gives `unit` the root of list `name`; `bound` are the machine's paths in it.

    Raises BootunionError unit-invalid.
    """
    for path in bound:
        if not path.startswith("/") or any(one.isspace() or one in ":%\\\"'" for one in path):
            text = (
                "is no path that a unit can name: absolute, without white space, quotes, `:`, `%`"
            )
            raise BootunionError("unit-invalid", text, subject=path)
    lines = "".join(f"BindPaths={path}\n" for path in bound)
    return _TEXT.format(unit=_check(unit), name=name, bound=lines)


def place(unit: str, units: Path = UNITS) -> Path:
    """Where the drop-in of a unit lies. Raises BootunionError unit-invalid."""
    return units / f"{_check(unit)}.d" / NAME


def write(unit: str, name: str, bound: tuple[str, ...], units: Path = UNITS) -> Path:
    """Write the drop-in; gives its path. Raises BootunionError unit-invalid."""
    text = drop_in(unit, name, bound)
    path = place(unit, units)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode())
    return path


def remove(unit: str, units: Path = UNITS) -> Path:
    """Take the drop-in away. Raises BootunionError unit-invalid, file-missing."""
    path = place(unit, units)
    try:
        path.unlink()
    except FileNotFoundError:
        text = "has no root that this command gave it"
        raise BootunionError("file-missing", text, subject=unit) from None
    if not list(path.parent.iterdir()):
        path.parent.rmdir()
    return path


def _check(unit: str) -> str:
    if _SERVICE.match(unit) is None:
        raise BootunionError("unit-invalid", "is not the name of a service", subject=unit)
    return unit
