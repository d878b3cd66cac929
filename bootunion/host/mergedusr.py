"""Merged /usr: paths that a package has in /bin, /lib or /sbin move below /usr.

A layer with a real /lib would hide the symlink of the union and break the root.
"""

from __future__ import annotations

import posixpath
import tarfile

from bootunion.merge import MERGED_USR


def move(path: str) -> str:
    """Where a path (relative, no leading slash or dot) lies on a merged system."""
    return f"usr/{path}" if path.partition("/")[0] in MERGED_USR else path


def rewrite(info: tarfile.TarInfo) -> None:
    """Move a member below /usr in place, with what it links to. Its name has no leading `./`."""
    if info.issym() and info.name in MERGED_USR:
        return  # the merge's own symlink
    before = info.name
    info.name = move(before)
    if info.islnk():
        info.linkname = move(clean(info.linkname))
    elif info.issym() and info.name != before and not info.linkname.startswith("/"):
        info.linkname = _relink(before, info.name, info.linkname)


def clean(name: str) -> str:
    """A tar member's name without `./` and doubled or trailing slashes; `..` is left to see."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _relink(before: str, after: str, target: str) -> str:
    # Only a target that climbs out of the moved directory means another file from the new place.
    depth = before.count("/")
    level = depth
    for part in target.split("/"):
        level += -1 if part == ".." else 0 if part in ("", ".") else 1
        if level < 1:
            aim = posixpath.normpath(posixpath.join("/", posixpath.dirname(before), target))
            return posixpath.relpath("/" + move(aim.lstrip("/")), "/" + posixpath.dirname(after))
    return target
