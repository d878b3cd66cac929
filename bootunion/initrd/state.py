"""Keeps the machine's memory of a list in the store's `state/`, old or new at any moment.

`Keeper` is all that the agent knows of where the memory lies: something stronger than a file (a
TPM's counters) can take its place by having the same `load`, `save` and `writable`.

The store is hostile: nothing is followed and nothing is created but below its own open directory.
"""

from __future__ import annotations

import os
import stat

from bootunion import state
from bootunion.errors import BootunionError
from bootunion.state import State

from . import mount
from .scopes import suppress
from .store import Store

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    pass

DIRECTORY = "state"
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Keeper:
    """Reads and writes the state of one list in one store."""

    def __init__(self, store: Store, list_name: str) -> None:
        self._store = store
        self._file = f"{list_name}.json"
        self.problem: BootunionError | None = None

    def load(self) -> State:
        """The state, or an empty one; then `problem` says why when there should have been one."""
        name = f"{DIRECTORY}/{self._file}"
        try:
            data = self._store.read(DIRECTORY, self._file, limit=state.MAX_SIZE)
            return state.decode(data, subject=name)
        except BootunionError as error:
            # A damaged memory is a lost one. Refusing to boot without it would make the most
            # fragile file of the store the most important one.
            if error.code != "file-missing":
                text = f"is damaged and counts for nothing: {error.message}"
                self.problem = BootunionError("state-invalid", text, subject=name)
            return State()

    def save(self, new: State) -> bool:
        """Write the state; False, with `problem` set, when the store takes no writes."""
        try:
            with writable(self._store):
                write(self._store, DIRECTORY, self._file, new.encode())
        except OSError as error:
            text = f"the state cannot be written: {error.strerror}"
            self.problem = BootunionError("state-unwritable", text, subject=DIRECTORY)
            return False
        return True


class writable:  # noqa: N801 - it is used like a function
    """Make the store's file system writable for a block when it is not. Raises OSError."""

    __slots__ = ("_store", "_was_read_only")

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> None:
        self._was_read_only = bool(os.fstatvfs(self._store.fd).f_flag & os.ST_RDONLY)
        if self._was_read_only:
            mount.remount(self._store.name, read_only=False)

    def __exit__(self, *_: object) -> None:
        if self._was_read_only:
            mount.remount(self._store.name, read_only=True)


def write(store: Store, directory: str, name: str, data: bytes) -> None:
    """Write a file of the store so that its old or its new content is there at any moment.

    `directory` is one component and is made when it is missing. Raises OSError.
    """
    with suppress(FileExistsError):
        os.mkdir(directory, 0o755, dir_fd=store.fd)
    place = os.open(directory, _OPEN, dir_fd=store.fd)
    aside = f".{name}.new"
    try:
        with suppress(FileNotFoundError):
            os.unlink(aside, dir_fd=place)
        fd = os.open(aside, _NEW, 0o644, dir_fd=place)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(fd)
            os.rename(aside, name, src_dir_fd=place, dst_dir_fd=place)
        except BaseException:
            with suppress(OSError):
                os.unlink(aside, dir_fd=place)
            raise
        os.fsync(place)
        os.fsync(store.fd)
    finally:
        os.close(place)


def names(store: Store, *path: str, most: int) -> list[str]:
    """Names of the regular files among the first `most` entries of a directory, in no order.

    Empty when there is no such directory.
    """
    directory = os.dup(store.fd)
    found: list[str] = []
    try:
        for part in path:
            inner = os.open(part, _OPEN, dir_fd=directory)
            os.close(directory)
            directory = inner
        with os.scandir(directory) as entries:
            for _, entry in zip(range(most), entries, strict=False):
                if stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                    found.append(entry.name)
    except OSError:
        return []
    finally:
        os.close(directory)
    return found
