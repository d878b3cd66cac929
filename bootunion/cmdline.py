"""The kernel command line: which list to boot, from where, and what to do when it fails.

docs/kernel-command-line.md describes each parameter for people.
"""

from __future__ import annotations

from . import systemlist
from .errors import BootunionError
from .spelling import DIGITS, LETTERS, Spelling
from .values import NamedTuple

HALT = "halt"
POWEROFF = "poweroff"
REBOOT = "reboot"
SHELL = "shell"
ON_FAILURE = (HALT, POWEROFF, REBOOT, SHELL)
DEFAULT_TIMEOUT = 90
DEFAULT_REBOOTS = 3
_COMPONENT = Spelling(f"{LETTERS}{DIGITS}@", f"{LETTERS}{DIGITS}@._-", 4096)


class Settings(NamedTuple):
    """What the command line asks for.

    `list_name` "" means that bootunion is not wanted. `generation` 0 means the store's current
    one. `store` is a device ("" for the file system at the sysroot), `directory` the store's place
    in that file system, `timeout` seconds to wait for the device, `reboots` how often in a row a
    refusal may reboot the machine.
    """

    list_name: str = ""
    generation: int = 0
    store: str = ""
    directory: str = "/"
    timeout: int = DEFAULT_TIMEOUT
    on_failure: str = HALT
    reboots: int = DEFAULT_REBOOTS


def split(text: str) -> list[tuple[str, str | None]]:
    """The parameters of a command line in order: (name, value or None).

    Double quotes keep white space together, as in the kernel's lib/cmdline.c; they are removed.
    Everything behind a lone `--` belongs to init and is left out.
    """
    result: list[tuple[str, str | None]] = []
    for word in _words(text):
        if word == "--":
            break
        name, equals, value = word.replace('"', "").partition("=")
        result.append((name, value if equals else None))
    return result


def _words(text: str) -> list[str]:
    """The words of a command line, with their quotes."""
    if '"' not in text:
        return text.split()
    words: list[str] = []
    word = ""
    for number, part in enumerate(text.split('"')):
        if number:
            word += '"'
        if number % 2:  # between two quotes white space is like any character
            word += part
            continue
        for char in part:
            if not char.isspace():
                word += char
            elif word:
                words.append(word)
                word = ""
    return [*words, word] if word else words


def parse(text: str) -> Settings:
    """The settings in a kernel command line; the last of several equal parameters wins.

    Raises BootunionError cmdline-invalid for an unknown `bootunion.` parameter or a value that
    cannot be meant.
    """
    values = {name: value for name, value in split(text) if name.partition(".")[0] == "bootunion"}
    unknown = sorted(set(values) - set(_READERS))
    if unknown:
        raise _wrong(unknown[0], "is not a parameter of bootunion")
    return Settings(
        **{
            _READERS[name][0]: _READERS[name][1](name, value or "")  # type: ignore[arg-type]
            for name, value in values.items()
        }
    )


def _wrong(name: str, what: str) -> BootunionError:
    return BootunionError("cmdline-invalid", f"{name} {what}", subject=name)


def _list_name(name: str, value: str) -> str:
    if not systemlist.LIST_NAME.match(value):
        raise _wrong(name, f"{value[:80]!r} is not the name of a list")
    return value


def _number(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 15 or int(value) < 1:
        raise _wrong(name, f"{value[:80]!r} is not a whole number above 0")
    return int(value)


def _device(name: str, value: str) -> str:
    kind, equals, _ = value.partition("=")
    if not value.startswith("/dev/") and not (equals and kind in DEVICE_TAGS):
        tags = ", ".join(f"{tag}=" for tag in DEVICE_TAGS)
        raise _wrong(name, f"{value[:80]!r} is neither /dev/… nor one of {tags}")
    return value


def _directory(name: str, value: str) -> str:
    if value != "/" and not (value[:1] == "/" and all(map(_COMPONENT.match, value[1:].split("/")))):
        raise _wrong(name, f"{value[:80]!r} is not an absolute directory")
    return value


def _action(name: str, value: str) -> str:
    if value not in ON_FAILURE:
        raise _wrong(name, f"{value[:80]!r} is not one of {', '.join(ON_FAILURE)}")
    return value


DEVICE_TAGS = ("LABEL", "UUID", "PARTLABEL", "PARTUUID")
_READERS = {
    "bootunion": ("list_name", _list_name),
    "bootunion.generation": ("generation", _number),
    "bootunion.store": ("store", _device),
    "bootunion.dir": ("directory", _directory),
    "bootunion.timeout": ("timeout", _number),
    "bootunion.on-failure": ("on_failure", _action),
    "bootunion.reboots": ("reboots", _number),
}
