"""users.yaml: which users see which packages from login on."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from bootunion.errors import BootunionError
from bootunion.host import references

PLACE = Path("/etc/bootunion/users.yaml")
MEMBERS = "bootunion-logins"
"""The group whose members PAM sends through login-root; see share/login/bootunion-login."""

_MAX_SIZE = 1 << 20
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_KEYS = ("list", "with", "without")


class Entry(NamedTuple):
    """What a user, or with "@" before it a group, sees.

    `list_name` is "" for the machine's own root with `with_` added and `without` taken away.
    """

    who: str
    list_name: str = ""
    with_: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


class User(NamedTuple):
    """A user of the machine, and the names of all their groups."""

    name: str
    uid: int
    groups: frozenset[str]


def read(path: Path = PLACE) -> tuple[Entry, ...]:
    """The entries of users.yaml in their order; none where there is no file.

    Raises BootunionError users-invalid, with the entry that is wrong; also where somebody else
    than root can write to the file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _wrong(path, f"cannot be read: {error.strerror}") from None
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise _wrong(path, "is not a regular file")
        if status.st_uid != 0 or status.st_mode & _WRITABLE_BY_OTHERS:
            raise _wrong(path, "others than root can write to it, and so choose anybody's root")
        data = file.read(_MAX_SIZE + 1)
    if len(data) > _MAX_SIZE:
        raise _wrong(path, f"is larger than {_MAX_SIZE} bytes")
    return _entries(data, path)


def find(entries: Iterable[Entry], user: User) -> Entry | None:
    """The entry of a user: their own, else the first of a group of theirs; never one of root's."""
    if user.uid == 0:
        return None
    listed = tuple(entries)
    for entry in listed:
        if entry.who == user.name:
            return entry
    for entry in listed:
        if entry.who.startswith("@") and entry.who[1:] in user.groups:
            return entry
    return None


def look_up(name: str) -> User:
    """The user of that name. Raises BootunionError user-unknown."""
    try:
        known = pwd.getpwnam(name)
    except KeyError:
        text = "this machine has no such user"
        raise BootunionError("user-unknown", text, subject=name) from None
    groups = set()
    for gid in os.getgrouplist(name, known.pw_gid):
        try:
            groups.add(grp.getgrgid(gid).gr_name)
        except KeyError:
            continue  # a group without a name can stand in no entry
    return User(known.pw_name, known.pw_uid, frozenset(groups))


def _entries(data: bytes, path: Path) -> tuple[Entry, ...]:
    try:
        raw = yaml.safe_load(data)
        # The parser keeps the last of two equal keys in silence: its nodes have both.
        node = yaml.compose(data, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        text = f'is not YAML (a group is written "@group", with quotes): {error}'
        raise _wrong(path, " ".join(text.split())) from None
    if raw is None:
        return ()
    if not isinstance(raw, dict) or not isinstance(node, yaml.MappingNode):
        raise _wrong(path, "is not a mapping of users to what they see")
    keys = [key.value for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            raise _wrong(path, f"{key!r} stands there twice")
    return tuple(_entry(who, what, path) for who, what in raw.items())


def _entry(who: object, what: object, path: Path) -> Entry:
    if not isinstance(who, str) or not who.removeprefix("@"):
        raise _wrong(path, f"{who!r} is no user and no @group")
    if who == "root":
        raise _wrong(path, "root keeps the machine's root, to be able to mend it")
    if not isinstance(what, Mapping) or not what:
        raise _wrong(path, f"{who} says nothing of {', '.join(_KEYS)}")
    for key in what:
        if key not in _KEYS:
            raise _wrong(path, f"{who} has {key!r}, which is none of {', '.join(_KEYS)}")
    name = what.get("list", "")
    if not isinstance(name, str) or (name and not references.is_stored(name)):
        raise _wrong(path, f"{who} names {name!r}, which is not the name of a list")
    return Entry(who, name, *(_packages(who, what.get(key, []), path) for key in _KEYS[1:]))


def _packages(who: str, names: object, path: Path) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(one, str) and one for one in names):
        raise _wrong(path, f"{who} does not list packages by their names")
    return tuple(names)


def _wrong(path: Path, what: str) -> BootunionError:
    return BootunionError("users-invalid", what, subject=str(path))
