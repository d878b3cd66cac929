"""Reads from a file's bytes, while they pass, what it needs to be run or loaded.

Covers ELF programs and libraries (elf(5)), `#!` scripts (execve(2)) and ld.so.cache (glibc,
sysdeps/generic/dl-cache.h). An own reader rather than a library: a few fields of each file are
wanted out of a stream, from bytes that may be hostile, within bounds of time and memory.
"""

from __future__ import annotations

import posixpath
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from bootunion.contents import LOADER_CACHE, Linking

CACHE_PATH = "etc/ld.so.cache"
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_CACHE_HEADER = 48  # struct cache_file_new
_CACHE_ENTRY = struct.Struct("=iIIIQ")  # struct file_entry_new: flags, key, value, version, hwcap

_SCRIPT = re.compile(rb"#![ \t]*([^ \t\n\0]+)[ \t]*([^\n\0]*)")
_SCRIPT_HEAD = 256  # BINPRM_BUF_SIZE

# Where ld, gold and lld put a file's dynamic strings lies far below this also in the largest ones.
_MAX_HEAD = 32 << 20
_FIRST = 4096  # bytes that hold an ELF file's headers
_MAX_HEADERS = 1 << 16  # bytes of program headers; the kernel's limit (fs/binfmt_elf.c)
_MAX_DYNAMIC = 1 << 18
_MAX_TEXT = 4096
_MAX_NEEDED = 1024

_ELF = b"\x7fELF"
_EXEC, _DYN = 2, 3
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_SONAME, _DT_RPATH, _DT_RUNPATH = 0, 1, 5, 14, 15, 29

# Numbers of linux/elf-em.h; the name says the byte order where a machine has two.
_MACHINES = {3: "386", 8: "mips", 21: "ppc64", 22: "s390", 40: "arm", 62: "x86-64",
             183: "aarch64", 243: "riscv", 258: "loongarch"}  # fmt: skip
_BOTH_ORDERS = (8, 21)


class Reader:
    """Takes a file's bytes in their order (`update`), then gives its `linking`."""

    def __init__(self, path: str, mode: int) -> None:
        self._path = path
        self._mode = mode
        self._head = bytearray()
        self._wanted = _MAX_HEAD  # bytes of the file's head that are kept
        self._known = False
        self._dynamic = bytearray()
        self._window = range(0)  # where the dynamic section lies, when it is not in the head
        self._place = 0

    def update(self, data: bytes) -> None:
        """The file's next bytes."""
        if len(self._head) < self._wanted:
            self._head += data[: self._wanted - len(self._head)]
            if not self._known and len(self._head) >= _FIRST:
                self._recognise()
        start, self._place = self._place, self._place + len(data)
        if start < self._window.stop and self._place > self._window.start:
            low = max(self._window.start, start)
            self._dynamic += data[low - start : self._window.stop - start]

    def _recognise(self) -> None:
        """Decide by the first bytes how many of the file are kept."""
        self._known = True
        self._wanted = _SCRIPT_HEAD
        if self._head.startswith(_ELF):
            elf = _elf(bytes(self._head))
            at = _segment(elf, _PT_DYNAMIC) if elf is not None else None
            if bytes(self._head[16:18]).strip(b"\0") in (b"\2", b"\3"):  # in either order
                self._wanted = _MAX_HEAD
            if at is not None and at.offset + min(at.size, _MAX_DYNAMIC) > _MAX_HEAD:
                self._window = range(at.offset, at.offset + min(at.size, _MAX_DYNAMIC))
        elif self._path == CACHE_PATH:
            self._wanted = _MAX_HEAD
        del self._head[self._wanted :]

    def linking(self) -> Linking | None:
        """What was read; None for a file that is nothing of this, or is damaged."""
        head = bytes(self._head)
        try:
            if head.startswith(_ELF):
                return _read_elf(head, bytes(self._dynamic) if self._window else None)
            if self._path == CACHE_PATH and _CACHE_MAGIC in head:
                return _read_cache(head)
        except (struct.error, ValueError):
            return None
        # The kernel looks at the first line of what may be executed only.
        return _read_script(head[:_SCRIPT_HEAD]) if self._mode & 0o111 else None


class _Segment(NamedTuple):
    kind: int
    offset: int
    address: int
    size: int


class _Elf(NamedTuple):
    machine: str
    order: str
    wide: bool
    segments: tuple[_Segment, ...]


def _elf(head: bytes) -> _Elf | None:
    """The headers of a program or shared library; None for anything else."""
    try:
        wide, order = head[4] == 2, "<>"[head[5] - 1]
        form = "HHIQQQIHHH" if wide else "HHIIIIIHHH"
        header = struct.unpack_from(order + form, head, 16)
        kind, machine, _, _, place, _, _, _, step, count = header
        one = struct.Struct(order + ("IIQQQQ" if wide else "IIIII"))
        if kind not in (_EXEC, _DYN) or head[4] not in (1, 2) or head[5] not in (1, 2):
            return None
        if step < one.size or step * count > _MAX_HEADERS or place > len(head):
            return None
        segments = []
        for index in range(count):
            fields = one.unpack_from(head, place + index * step)
            # struct elf64_phdr: type, flags, offset, vaddr, paddr, filesz; elf32_phdr has its
            # flags further back.
            name, offset, address, _, size = fields[:1] + fields[2:] if wide else fields
            segments.append(_Segment(name, offset, address, size))
    except (struct.error, IndexError):
        return None
    name = _MACHINES.get(machine, str(machine))
    if machine in _BOTH_ORDERS:
        name += "le" if order == "<" else "be"
    return _Elf(f"{64 if wide else 32}-{name}", order, wide, tuple(segments))


def _segment(elf: _Elf, kind: int) -> _Segment | None:
    return next((one for one in elf.segments if one.kind == kind and one.size), None)


def _read_elf(head: bytes, dynamic: bytes | None) -> Linking | None:
    """Raises ValueError or struct.error for a damaged file."""
    elf = _elf(head)
    if elf is None:
        return None
    interpreter = ""
    at = _segment(elf, _PT_INTERP)
    if at is not None:
        interpreter = _text(head[: at.offset + at.size], at.offset)
    at = _segment(elf, _PT_DYNAMIC)
    if at is None:
        return Linking(elf.machine, interpreter)
    if dynamic is None:
        dynamic = head[at.offset : at.offset + min(at.size, _MAX_DYNAMIC)]
    values: dict[int, list[int]] = {}
    for tag, value in _pairs(elf, dynamic):
        values.setdefault(tag, []).append(value)
    needed = values.get(_DT_NEEDED, [])
    if len(needed) > _MAX_NEEDED:
        raise ValueError("more libraries than any program has")
    strings = _strings(elf, values)

    def text(tag: int) -> str:
        return _text(head, strings + values[tag][0]) if tag in values else ""

    search = text(_DT_RUNPATH) or text(_DT_RPATH)
    return Linking(
        elf.machine,
        interpreter,
        tuple(name for value in needed if (name := _text(head, strings + value))),
        text(_DT_SONAME),
        tuple(part for part in search.split(":") if part),
    )


def _pairs(elf: _Elf, dynamic: bytes) -> Iterator[tuple[int, int]]:
    one = struct.Struct(elf.order + ("qQ" if elf.wide else "iI"))
    for tag, value in one.iter_unpack(dynamic[: len(dynamic) // one.size * one.size]):
        if tag == _DT_NULL:
            return
        yield tag, value


def _strings(elf: _Elf, values: dict[int, list[int]]) -> int:
    """Where in the file the dynamic strings are: the section has their address."""
    (address,) = values.get(_DT_STRTAB, [0])[:1]
    for one in elf.segments:
        if one.kind == _PT_LOAD and one.address <= address < one.address + one.size:
            return address - one.address + one.offset
    raise ValueError("strings in no segment")


def _text(data: bytes, start: int) -> str:
    end = data.find(b"\0", start, start + _MAX_TEXT)
    if end < 0:
        raise ValueError("a text without its end")
    return data[start:end].decode("utf-8", "surrogateescape")


def _read_script(head: bytes) -> Linking | None:
    found = _SCRIPT.match(head)
    if found is None:
        return None
    program, rest = (part.decode("utf-8", "surrogateescape") for part in found.groups())
    needed: tuple[str, ...] = ()
    if posixpath.basename(program) == "env":
        # env(1) looks for the first word that is neither an option nor a setting.
        words = (word for word in rest.removeprefix("-S").split())
        needed = tuple(word for word in words if word[0] != "-" and "=" not in word)[:1]
    return Linking(interpreter=program, needed=needed)


def _read_cache(data: bytes) -> Linking:
    """The directories that the cache has libraries of. Raises ValueError or struct.error."""
    data = data[data.index(_CACHE_MAGIC) :]  # glibc 2.31 and older put an older table before it
    (count,) = struct.unpack_from("=I", data, len(_CACHE_MAGIC))
    table = data[_CACHE_HEADER : _CACHE_HEADER + count * _CACHE_ENTRY.size]
    if len(table) < count * _CACHE_ENTRY.size:
        raise ValueError("cut short")
    found = {posixpath.dirname(_text(data, one[2])) for one in _CACHE_ENTRY.iter_unpack(table)}
    return Linking(LOADER_CACHE, search=tuple(sorted(found)))
