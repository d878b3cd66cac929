"""The members of a wheel's package: each file where installing the wheel would put it."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from .. import reproducible
from ..members import Member
from . import interpreter, launchers, record
from .archive import Archive, mode_of, shown
from .describing import Said
from .interpreter import Layout
from .record import Recorded

INSTALLER = b"bootunion\n"
_MOST_SOURCES = 1 << 30
_UNRECORDED = ("RECORD", "RECORD.jws", "RECORD.p7s")  # of them RECORD cannot hold a digest


class _File(NamedTuple):
    """A file of the package: of the wheel's `name`, or `data` that was made here."""

    mode: int
    recorded: Recorded | None
    name: str = ""
    data: bytes | None = None


def members(archive: Archive, said: Said, layout: Layout) -> Iterator[Member]:
    """The members of the package, sorted; what is read is checked against the wheel's RECORD.

    Raises BootunionError wheel-invalid, path-conflict; also while they are read.
    """
    recorded = _recorded(archive, said)
    files = _files(archive, said, layout, recorded)
    files |= _compiled(archive, files, layout)
    top = posixpath.dirname(_place_of_info(said, layout))
    own = f"{_place_of_info(said, layout)}/RECORD"
    entries = [(posixpath.relpath(path, top), one.recorded) for path, one in files.items()]
    text = record.encode([*entries, (posixpath.relpath(own, top), None)])
    files[own] = _File(0o644, None, data=text)
    for path in sorted(files):
        yield _member(archive, path, files[path])


def _member(archive: Archive, path: str, file: _File) -> Member:
    info = tarfile.TarInfo(path)
    info.mode, info.mtime = file.mode, reproducible.EPOCH
    if file.data is not None:
        info.size = len(file.data)
        return info, io.BytesIO(file.data)
    info.size = archive.files[file.name].file_size
    if file.recorded is None:
        return info, io.BytesIO(archive.read(file.name))
    return info, archive.open(file.name, file.recorded)


def _recorded(archive: Archive, said: Said) -> dict[str, Recorded | None]:
    """RECORD's entries: of each file of the wheel, and of no other."""
    name = f"{said.dist_info}/RECORD"
    try:
        found = record.parse(archive.read(name))
    except ValueError as error:
        archive.refuse(f"its RECORD: {error}")
    free = {f"{said.dist_info}/{one}" for one in _UNRECORDED}
    for path, info in archive.files.items():
        one = found.get(path)
        if one is None and path not in free:
            archive.refuse(f"has {shown(path)}, of which its RECORD has no digest")
        if one is not None and one.size not in (-1, info.file_size):
            archive.refuse(
                f"has {info.file_size} bytes of {shown(path)}, its RECORD says {one.size}"
            )
        # Nobody reads a file without bytes.
        if one is not None and not info.file_size and one.digest != one.begin().digest():
            archive.refuse(f"has {shown(path)}, which is not what its RECORD says")
    for path in found:
        if path not in archive.files and path not in free:
            archive.refuse(f"its RECORD names {shown(path)}, which it has not")
    return found


def _place_of_info(said: Said, layout: Layout) -> str:
    return f"{layout.purelib if said.pure else layout.platlib}/{said.dist_info}"


def _files(
    archive: Archive, said: Said, layout: Layout, recorded: dict[str, Recorded | None]
) -> dict[str, _File]:
    """The files by their paths in the root, without RECORD and what is compiled."""
    info = _place_of_info(said, layout)
    files: dict[str, _File] = {
        f"{info}/INSTALLER": _File(0o644, Recorded.of(INSTALLER), data=INSTALLER)
    }
    for name, entry in archive.files.items():
        path = _place(archive, said, layout, name)
        if path in (f"{info}/RECORD", f"{info}/INSTALLER"):
            continue
        script = path.startswith(f"{layout.scripts}/") and name.startswith(f"{said.data}/scripts/")
        mode = 0o755 if script or mode_of(entry) & 0o111 else 0o644
        one = _File(mode, recorded.get(name), name)
        if script and archive.begins_with(name, launchers.PYTHON_SCRIPT):
            data = launchers.rewrite(_whole(archive, name, recorded), layout.python)
            one = _File(mode, Recorded.of(data), data=data)
        _put(archive, files, path, one)
    points = f"{said.dist_info}/entry_points.txt"
    if points in archive.files:
        text = _whole(archive, points, recorded)
        for program, data in launchers.launchers(text, layout.python, archive.name):
            made = _File(0o755, Recorded.of(data), data=data)
            # As pip: an entry point's program takes the place of a script of its name.
            files.pop(f"{layout.scripts}/{program}", None)
            _put(archive, files, f"{layout.scripts}/{program}", made)
    return files


def _put(archive: Archive, files: dict[str, _File], path: str, one: _File) -> None:
    if path in files:
        archive.refuse(f"puts two files at /{path[:200]}", "path-conflict")
    files[path] = one


def _place(archive: Archive, said: Said, layout: Layout, name: str) -> str:
    """Where a file of the wheel goes, relative to the root."""
    if not name.startswith(f"{said.data}/"):
        return f"{layout.purelib if said.pure else layout.platlib}/{name}"
    _, key, *rest = name.split("/", 2)
    project = said.dist_info.removesuffix(".dist-info").rpartition("-")[0]
    places = {
        "purelib": layout.purelib, "platlib": layout.platlib, "scripts": layout.scripts,
        "data": layout.data, "headers": f"{layout.headers}/{project}",
    }  # fmt: skip
    if key not in places or not rest:
        archive.refuse(f"has {shown(name)}, for which there is no place")
    return f"{places[key]}/{rest[0]}"


def _whole(archive: Archive, name: str, recorded: dict[str, Recorded | None]) -> bytes:
    one = recorded[name]
    assert one is not None
    return archive.open(name, one).read()


def _compiled(archive: Archive, files: dict[str, _File], layout: Layout) -> dict[str, _File]:
    """The .pyc of each module: a tree that takes no writes would be compiled at each start."""
    places = (f"{layout.purelib}/", f"{layout.platlib}/")
    modules = [
        path for path, one in files.items()
        if path.endswith(".py") and path.startswith(places) and one.recorded is not None
        and _pyc(path, layout) not in files
    ]  # fmt: skip
    total = sum(archive.files[files[path].name].file_size for path in modules)
    if total > _MOST_SOURCES:
        archive.refuse(f"has {total} bytes of Python, at most {_MOST_SOURCES} are compiled")
    sources = []
    for path in sorted(modules):
        one = files[path]
        assert one.recorded is not None
        sources.append((path, archive.open(one.name, one.recorded).read()))
    made = interpreter.compile_sources(layout, ((f"/{path}", data) for path, data in sources))
    return {
        _pyc(path, layout): _File(0o644, None, data=data)
        for (path, _), data in zip(sources, made, strict=True) if data
    }  # fmt: skip


def _pyc(path: str, layout: Layout) -> str:
    """Where the import system looks for a module's compiled form (PEP 3147)."""
    module = PurePosixPath(path)
    return str(module.parent / "__pycache__" / f"{module.stem}.{layout.cache_tag}.pyc")
