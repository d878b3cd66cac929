"""Puts what other tools look for where they look: hooks of initramfs generators, units, man pages,
completion; and takes exactly that away again.

A record in the root says what was installed, with digests. A file that is not in it is somebody
else's and never written over; one that was changed since is a person's and stays. The record is
written before the files are, so that an installation that was killed can be repeated or removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from bootunion import __version__
from bootunion.errors import BootunionError

from .store import write_atomic

RECORD = "/var/lib/bootunion/hooks.json"
DEFAULT_PREFIX = "/usr/local"
_SCHEMA = 1
_SOURCE = Path(__file__).resolve().parents[1]


class _Place(NamedTuple):
    """Files of bootunion's own, and where a tool looks for them.

    `source` is a directory of bootunion's `share`, `checkout` the same one in a checkout. `target`
    may hold the words of `_words`. `program` makes all files executable; shell scripts are. `name`
    is put before each file's own.
    """

    component: str
    source: str
    checkout: str
    files: str
    target: str
    program: bool = False
    name: str = ""


# dracut looks at no other place. mkinitcpio and initramfs-tools have one for distributions and one
# for the machine's owner, the others look below each usual prefix.
_PLACES = (
    _Place("dracut", "dracut-module", "dracut-module", "*/*", "/usr/lib/dracut/modules.d"),
    _Place("mkinitcpio", "mkinitcpio-hook", "mkinitcpio-hook", "*/*", "{initcpio}"),
    _Place("mkinitcpio", "mkinitcpio-hook", "mkinitcpio-hook", "functions", "/usr/lib/bootunion",
           name="mkinitcpio-"),
    _Place("initramfs-tools", "initramfs-tools", "initramfs-tools", "hooks/*",
           "{initramfs_tools}", program=True),
    _Place("initramfs-tools", "initramfs-tools", "initramfs-tools", "scripts/**/*",
           "{initramfs_tools}", program=True),
    # mkinitramfs looks at no other place for these.
    _Place("initramfs-tools", "initramfs-tools", "initramfs-tools", "conf-hooks.d/*",
           "/usr/share/initramfs-tools"),
    _Place("systemd", "systemd", "bootunion/share/systemd", "*", "{prefix}/lib/systemd/system"),
    # namespace.conf names this place.
    _Place("login", "login", "bootunion/share/login", "login-root", "/usr/lib/bootunion",
           program=True),
    _Place("login", "login", "bootunion/share/login", "bootunion-login", "/etc/pam.d"),
    _Place("login", "login", "bootunion/share/login", "namespace.conf",
           "/etc/security/namespace.d", name="bootunion-"),
    _Place("man", "man", "docs/man", "*.[1-8]", "{prefix}/share/man/man{section}"),
    _Place("completion", "completion/bash", "bootunion/share/completion/bash", "*",
           "{prefix}/share/bash-completion/completions"),
    _Place("completion", "completion/zsh", "bootunion/share/completion/zsh", "*",
           "{prefix}/share/zsh/site-functions"),
    _Place("completion", "completion/fish", "bootunion/share/completion/fish", "*",
           "{prefix}/share/fish/vendor_completions.d"),
)  # fmt: skip
COMPONENTS = tuple(dict.fromkeys(place.component for place in _PLACES))

# A component is wanted unasked where its tool is. The others cost nothing where they are not used.
_SIGNS = {
    "dracut": ("/usr/lib/dracut", "/usr/bin/dracut"),
    "mkinitcpio": ("/usr/lib/initcpio", "/usr/bin/mkinitcpio"),
    "initramfs-tools": ("/usr/share/initramfs-tools", "/usr/sbin/mkinitramfs"),
    # How people log in is changed on request only.
    "login": (),
}
# Installed with its unit, so that nothing has to be enabled: on a machine that was not booted from
# a list this one does nothing. What serves others is enabled by a person.
_WANTED = {"bootunion-good.service": "multi-user.target"}
_SYSTEM_PYTHON = "/usr/bin/python3"
_STARTS = re.compile(rb"(?:/usr/bin/)?python3((?: -[A-Za-z]+)* -m bootunion\.)")

INSTALLED = "installed"
UPDATED = "updated"
UNCHANGED = "unchanged"
KEPT = "kept, for it was changed"
REMOVED = "removed"
GONE = "was gone"


class File(NamedTuple):
    """A file to be installed: bytes and mode, or the target of a symbolic link."""

    component: str
    data: bytes = b""
    mode: int = 0o644
    link: str = ""

    @property
    def identity(self) -> str:
        """What the record remembers of it."""
        return f"link:{self.link}" if self.link else _digest(self.data)


class Done(NamedTuple):
    """What happened to a path (absolute, as the root sees it)."""

    path: str
    component: str
    did: str


class _Owned(NamedTuple):
    """A path of the record. `identities` are two while a file is being replaced."""

    component: str
    identities: tuple[str, ...]


class Record(NamedTuple):
    """What was installed: files by path, and the directories that were made for them."""

    files: Mapping[str, _Owned]
    directories: tuple[str, ...]


def found_components(root: Path) -> tuple[str, ...]:
    """The components that a root can use, of those that there are files for."""
    return tuple(
        one for one in COMPONENTS
        if (one not in _SIGNS or any((root / sign[1:]).exists() for sign in _SIGNS[one]))
        and any(_collect(one, DEFAULT_PREFIX, ""))
    )  # fmt: skip


def collect(components: Iterable[str], prefix: str, python: str = "") -> dict[str, File]:
    """The files of `components` by the path that they belong at.

    `python` is the interpreter that hooks and units run bootunion with, "" for the system's.
    Raises BootunionError hooks-missing.
    """
    files: dict[str, File] = {}
    for component in components:
        found = dict(_collect(component, prefix, python))
        if not found:
            text = f"this installation of bootunion has no files for {component}"
            raise BootunionError("hooks-missing", text, subject=component)
        files |= found
    return files


def own_python() -> str:
    """The interpreter of a virtual environment that bootunion runs from, "" outside of one."""
    return sys.executable if sys.prefix != sys.base_prefix else ""


def _collect(component: str, prefix: str, python: str) -> Iterator[tuple[str, File]]:
    for place in _PLACES:
        source = _SOURCE / "share" / place.source
        if not source.is_dir():
            source = _SOURCE.parent / place.checkout
        if place.component != component:
            continue
        for path in sorted(source.glob(place.files)):
            if not path.is_file() or path.name.startswith((".", "README")):
                continue
            target = place.target.format_map({**_words(prefix), "section": path.suffix[1:]})
            executable = place.program or path.suffix == ".sh"
            data = path.read_bytes()
            if python not in ("", _SYSTEM_PYTHON):
                data = _STARTS.sub(python.encode().replace(b"\\", rb"\\") + rb"\1", data)
            inner = place.name + path.relative_to(source).as_posix()
            yield f"{target}/{inner}", File(component, data, 0o755 if executable else 0o644)
            if inner in _WANTED:
                wanted = f"{target}/{_WANTED[inner]}.wants/{inner}"
                yield wanted, File(component, link=f"../{inner}")


def _words(prefix: str) -> dict[str, str]:
    distribution = prefix == "/usr"
    return {
        "prefix": prefix,
        "initcpio": "/usr/lib/initcpio" if distribution else "/etc/initcpio",
        "initramfs_tools": "/usr/share/initramfs-tools" if distribution
                           else "/etc/initramfs-tools",
    }  # fmt: skip


def install(root: Path, files: Mapping[str, File], *, record: bool = True) -> list[Done]:
    """Install files below `root`; what a former version had and this one has not goes.

    Without `record` nothing is remembered: that is for whoever packs a root with a package manager.
    Raises BootunionError hooks-conflict before anything is written, hooks-record.
    """
    before = _read_record(root)
    for path in files:
        _check_target(root, path, owned=path in before.files)
    new = {path: _Owned(file.component, (file.identity,)) for path, file in files.items()}
    if record:
        made = _missing_directories(root, [*files, RECORD])
        before = Record(before.files, tuple(dict.fromkeys((*before.directories, *made))))
        # Killed from here on, what is there is either the old or the new: both are its own.
        both = {path: one._replace(identities=_known(before, path) + one.identities)
                for path, one in new.items()}  # fmt: skip
        _write_record(root, before._replace(files={**before.files, **both}))
    components = {file.component for file in files.values()}
    done = [_put(root, path, file, _known(before, path)) for path, file in files.items()]
    done += [_take(root, path, owned) for path, owned in before.files.items()
             if path not in files and owned.component in components]  # fmt: skip
    if record:
        after = {**before.files, **new}
        for one in done:
            if one.did in (REMOVED, GONE):
                after.pop(one.path)
            elif one.did == KEPT:
                after[one.path] = before.files[one.path]
        _write_record(root, before._replace(files=after))
    return sorted(done)


def remove(root: Path, components: Iterable[str]) -> list[Done]:
    """Take away what was installed of `components`. Raises BootunionError hooks-record."""
    before = _read_record(root)
    mine = {path: owned for path, owned in before.files.items() if owned.component in components}
    for path in mine:
        _check_target(root, path, owned=True)
    done = [_take(root, path, owned) for path, owned in mine.items()]
    gone = {one.path for one in done if one.did != KEPT}
    left = {path: owned for path, owned in before.files.items() if path not in gone}
    if left:
        _write_record(root, before._replace(files=left))
    else:
        (root / RECORD[1:]).unlink(missing_ok=True)
    for directory in sorted(before.directories, key=len, reverse=True):
        with contextlib.suppress(OSError):  # not empty: somebody else uses it now
            (root / directory[1:]).rmdir()
    return sorted(done)


def _known(record: Record, path: str) -> tuple[str, ...]:
    return record.files[path].identities if path in record.files else ()


def _put(root: Path, path: str, file: File, known: tuple[str, ...]) -> Done:
    target = root / path[1:]
    there = _identity(target)
    if there == file.identity:
        did = UNCHANGED
    elif there is not None and there not in known:
        did = KEPT
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.link:
            target.unlink(missing_ok=True)
            target.symlink_to(file.link)
        else:
            write_atomic(target, file.data, mode=file.mode)
        did = INSTALLED if there is None else UPDATED
    return Done(path, file.component, did)


def _take(root: Path, path: str, owned: _Owned) -> Done:
    target = root / path[1:]
    there = _identity(target)
    if there is None:
        return Done(path, owned.component, GONE)
    if there not in owned.identities:
        return Done(path, owned.component, KEPT)
    target.unlink()
    return Done(path, owned.component, REMOVED)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _identity(path: Path) -> str | None:
    """What lies at a path, in the record's words; None where nothing does."""
    try:
        if path.is_symlink():
            return f"link:{path.readlink()}"
        return _digest(path.read_bytes())
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        return "directory"


def _check_target(root: Path, path: str, *, owned: bool) -> None:
    target = root / path[1:]
    inside = root.resolve()
    if not target.parent.resolve().is_relative_to(inside):
        text = f"{target.parent} leads out of {root}"
        raise BootunionError("hooks-conflict", text, subject=path)
    if not owned and _identity(target) is not None:
        raise BootunionError("hooks-conflict", f"{target} is there and was not installed by this "
                             "command", subject=path)  # fmt: skip


def _missing_directories(root: Path, paths: Iterable[str]) -> list[str]:
    parents = {str(parent) for path in paths for parent in PurePosixPath(path).parents} - {"/"}
    return sorted(one for one in parents if not (root / one[1:]).exists())


def _write_record(root: Path, record: Record) -> None:
    place = root / RECORD[1:]
    place.parent.mkdir(parents=True, exist_ok=True)
    files = {path: {"component": one.component, "is": list(one.identities)}
             for path, one in sorted(record.files.items())}  # fmt: skip
    value = {"schema": _SCHEMA, "bootunion": __version__, "files": files,
             "directories": list(record.directories)}  # fmt: skip
    write_atomic(place, json.dumps(value, indent=1).encode() + b"\n")


def _read_record(root: Path) -> Record:
    place = root / RECORD[1:]
    try:
        value = json.loads(place.read_bytes())
        if value["schema"] != _SCHEMA:
            raise ValueError(f"schema {value['schema']!r}")
        files = {_path(path): _Owned(one["component"], tuple(one["is"]))
                 for path, one in value["files"].items()}  # fmt: skip
        return Record(files, tuple(map(_path, value["directories"])))
    except FileNotFoundError:
        return Record({}, ())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        text = f"{place} is not a record of installed files: {error}"
        raise BootunionError("hooks-record", text, subject=RECORD) from None


def _path(text: Any) -> str:
    # What is removed is what this names: nothing that leads elsewhere.
    parts = text.split("/")
    if parts[0] or len(parts) < 2 or any(part in ("", ".", "..") for part in parts[1:]):
        raise ValueError(f"{text!r} is not a path of a root")
    return str(text)
