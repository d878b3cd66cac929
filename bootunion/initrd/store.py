"""Reads the store as what it is: written by somebody else.

Every file is opened once, beneath an open directory, following no link, waiting for no pipe; its
type and size are checked on the open descriptor, and that descriptor is what is used.
"""

from __future__ import annotations

import errno
import os
import stat

from bootunion.errors import BootunionError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO must not wait for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_CURRENT_SIZE = 32


class Store:
    """A store, as an open directory. A context manager."""

    def __init__(self, path: str, directory: str = "/") -> None:
        """Open the store at `directory` of the file system mounted at `path`.

        Raises BootunionError file-missing or file-invalid.
        """
        self.name = path
        self._directories: dict[tuple[str, ...], int] = {}
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _refused(error, path) from None
        for part in directory.split("/"):
            if part:
                try:
                    inner = os.open(part, _DIRECTORY, dir_fd=self.fd)
                except OSError as error:
                    raise _refused(error, directory) from None
                finally:
                    os.close(self.fd)
                self.fd = inner

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in (*self._directories.values(), self.fd):
            os.close(fd)
        self._directories.clear()

    def open(self, *path: str) -> tuple[int, int]:
        """Open a regular file by its path's components: (descriptor, size in bytes)."""
        try:
            fd = os.open(path[-1], _FILE, dir_fd=self._directory(path[:-1]))
        except OSError as error:
            raise _refused(error, "/".join(path)) from None
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise BootunionError("file-invalid", "is not a regular file", subject="/".join(path))
        return fd, status.st_size

    def _directory(self, path: tuple[str, ...]) -> int:
        """A directory of the store, opened once however many of its files are. Raises OSError."""
        if not path:
            return self.fd
        if path not in self._directories:
            outer = self._directory(path[:-1])
            self._directories[path] = os.open(path[-1], _DIRECTORY, dir_fd=outer)
        return self._directories[path]

    def read(self, *path: str, limit: int) -> bytes:
        """The bytes of a file of at most `limit` bytes.

        Raises BootunionError file-missing, file-invalid or file-too-large.
        """
        fd, _ = self.open(*path)
        shown = "/".join(path)
        with os.fdopen(fd, "rb") as file:
            try:
                # The size may change under us: what counts is what is read.
                data = file.read(limit + 1)
            except OSError as error:
                raise _refused(error, shown) from None
        if len(data) > limit:
            text = f"is larger than {limit} bytes, so it was not read"
            raise BootunionError("file-too-large", text, subject=shown)
        return data

    def current(self, list_name: str) -> int:
        """The generation that `lists/<name>/current` names: a hint, not to be trusted."""
        from bootunion import systemlist  # noqa: PLC0415 - a process root's start needs no list

        shown = f"lists/{list_name}/current"
        text = self.read("lists", list_name, "current", limit=_CURRENT_SIZE)
        generation = text.decode("ascii", "replace").strip()
        if not systemlist.GENERATION.match(generation):
            raise BootunionError("list-missing", "names no generation", subject=shown)
        return int(generation)


def _refused(error: OSError, name: str) -> BootunionError:
    if error.errno == errno.ENOENT:
        return BootunionError("file-missing", "is not in the store", subject=name)
    if error.errno == errno.ENOTDIR:
        # Also what O_DIRECTORY | O_NOFOLLOW says of a symlink to a directory.
        text = "is not reached through real directories"
        return BootunionError("file-invalid", text, subject=name)
    if error.errno in (errno.ELOOP, errno.ENXIO):
        return BootunionError("file-invalid", "is not a regular file", subject=name)
    return BootunionError("file-invalid", f"cannot be read: {error.strerror}", subject=name)
