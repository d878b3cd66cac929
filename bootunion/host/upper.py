"""The upper of a running root, as the agent shows it to root alone.

Overlayfs itself does not tell which paths its upper gives: a file that was copied up keeps the
device and inode number of its layer (KERNEL: fs/overlayfs/inode.c, ovl_getattr).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bootunion import plan
from bootunion.comparing import Unseen
from bootunion.contents import DIRECTORY, Entry
from bootunion.errors import BootunionError
from bootunion.systemlist import UPPER_NONE, SystemList

from . import walking

PLACE = Path(plan.Places().upper)
_OPAQUE = "trusted.overlay.opaque"
_OVERLAY = "trusted.overlay."


class Given(NamedTuple):
    """What an upper gave when it was looked at: its paths, and those that end the merging."""

    paths: frozenset[str]
    closing: frozenset[str]

    def has(self, path: str) -> bool:
        """Whether the root has `path` from the upper, or the upper hides it."""
        if path in self.paths:
            return True
        if not self.closing:
            return False
        while path:
            path = path.rpartition("/")[0]
            if path in self.closing:
                return True
        return False


class Upper:
    """An upper directory. Paths are relative to the root, "" is the root itself.

    `None` is the upper of a read-only root: it gives nothing.
    """

    def __init__(self, place: Path | None) -> None:
        """Raises BootunionError upper-missing."""
        self._place = place
        # An empty mount point is no upper: what the agent shows is a mount of its own.
        if place is not None and not place.is_mount():
            text = "the agent that booted this machine left no view of the upper there"
            raise BootunionError("upper-missing", text, subject=str(place))

    def entries(self) -> Iterator[tuple[Entry, bool]]:
        """Each path, sorted, and whether it is an opaque directory; digests are left out.

        Raises BootunionError io-failed. What vanishes meanwhile is passed over.
        """
        if self._place is None:
            return
        for found in walking.walk(self._place, content=False, overlay_xattrs=True):
            if isinstance(found, Unseen):
                if not found.errno or os.path.lexists(self._place / found.path):
                    raise BootunionError("io-failed", found.text, subject=f"/{found.path}")
                continue
            opaque = (_OPAQUE, b"y".hex()) in found.xattrs
            own = tuple(one for one in found.xattrs if not one[0].startswith(_OVERLAY))
            yield found._replace(xattrs=own), opaque and found.type == DIRECTORY

    def given(self) -> Given:
        """What the upper gives now."""
        paths, closing = set(), set()
        for entry, opaque in self.entries():
            paths.add(entry.path)
            if opaque or entry.type != DIRECTORY:
                closing.add(entry.path)
        return Given(frozenset(paths), frozenset(closing))

    def gives(self, path: str) -> bool:
        """Whether the upper gives or hides one path at this moment."""
        if self._place is None:
            return False
        at = self._place
        for part in path.split("/") if path else ():
            # The root directories always merge (see `merge`).
            if at != self._place and _is_opaque(at):
                return True
            at /= part
            try:
                mode = at.lstat().st_mode
            except OSError:
                return False
            if not stat.S_ISDIR(mode):
                return True
        return True

    def path(self, path: str) -> Path:
        """Where a path of the upper can be read."""
        assert self._place is not None
        return self._place / path


def of(system: SystemList) -> Upper:
    """The upper of the root that was booted from a list. Raises BootunionError upper-missing."""
    return Upper(None if system.upper == UPPER_NONE else PLACE)


def _is_opaque(directory: Path) -> bool:
    try:
        return os.getxattr(directory, _OPAQUE) == b"y"
    except OSError:
        return False  # it has no such attribute
