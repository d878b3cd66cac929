"""The upper of a running root, as the agent shows it to root alone.

Overlayfs itself does not tell which paths its upper gives: a file that was copied up keeps the
device and inode number of its layer (KERNEL: fs/overlayfs/inode.c, ovl_getattr).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from bootunion import contents
from bootunion.contents import Entry
from bootunion.errors import BootunionError

PLACE = Path("/run/bootunion/private/upper")
_OPAQUE = "trusted.overlay.opaque"
_OVERLAY = "trusted.overlay."
_TYPES = {
    stat.S_IFDIR: contents.DIRECTORY,
    stat.S_IFREG: contents.FILE,
    stat.S_IFLNK: contents.SYMLINK,
    stat.S_IFCHR: contents.CHARACTER,
    stat.S_IFBLK: contents.BLOCK,
    stat.S_IFIFO: contents.FIFO,
    stat.S_IFSOCK: "socket",
}


class Upper:
    """An upper directory. Paths are relative to the root, "" is the root itself.

    `None` is the upper of a read-only root: it gives nothing.
    """

    def __init__(self, place: Path | None) -> None:
        """Raises BootunionError upper-missing."""
        self._place = place
        if place is not None and not place.is_dir():
            text = "the agent that booted this machine left no view of the upper there"
            raise BootunionError("upper-missing", text, subject=str(place))

    def entries(self) -> Iterator[tuple[Entry, bool]]:
        """Each path of the upper, parents first, and whether it is an opaque directory.

        Sizes are those of files, digests are left out. What vanishes meanwhile is passed over.
        """
        if self._place is None:
            return
        waiting = [""]
        while waiting:
            path = waiting.pop()
            try:
                entry, opaque = self._entry(path)
                yield entry, opaque
                if entry.type == contents.DIRECTORY:
                    names = sorted(os.listdir(self._place / path), reverse=True)
                    waiting += [f"{path}/{name}" if path else name for name in names]
            except (FileNotFoundError, NotADirectoryError):
                continue

    def _entry(self, path: str) -> tuple[Entry, bool]:
        assert self._place is not None
        place = self._place / path
        status = place.lstat()
        kind = _TYPES[stat.S_IFMT(status.st_mode)]
        names = os.listxattr(place, follow_symlinks=False)
        xattrs = tuple(
            (name, os.getxattr(place, name, follow_symlinks=False).hex())
            for name in sorted(names)
            if not name.startswith(_OVERLAY)
        )
        node = kind in (contents.CHARACTER, contents.BLOCK)
        entry = Entry(
            path, kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid,
            size=status.st_size if kind == contents.FILE else 0,
            target=os.readlink(place) if kind == contents.SYMLINK else "",
            device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if node else (0, 0),
            xattrs=xattrs,
        )  # fmt: skip
        opaque = _OPAQUE in names and os.getxattr(place, _OPAQUE, follow_symlinks=False) == b"y"
        return entry, opaque

    def path(self, path: str) -> Path:
        """Where a path of the upper can be read."""
        assert self._place is not None
        return self._place / path

    def gives(self, path: str) -> bool:
        """Whether the root has `path` from the upper now, or the upper hides it."""
        if self._place is None:
            return False
        parts = path.split("/") if path else []
        try:
            for depth in range(len(parts)):
                entry, opaque = self._entry("/".join(parts[:depth]))
                if opaque or entry.type != contents.DIRECTORY:
                    return True
            self._entry(path)
        except FileNotFoundError:
            return False
        return True
