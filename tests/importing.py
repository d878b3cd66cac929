"""What the tests of the importing side share: hand-made members, and an image seen as a tree."""

import contextlib
import hashlib
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from bootunion.host import packaging
from bootunion.host.members import XATTR_PREFIX, Member
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.manifest import Manifest

CAPABILITY = b"\x01\x00\x00\x02\x00\x20\n\x00\xff\xc3=\x80" + bytes(8)


def member(name: str, data: bytes | None = None, kind: bytes = tarfile.REGTYPE,
           xattrs: dict[str, bytes] | None = None, **fields: object) -> Member:  # fmt: skip
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data or b"")
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    for key, raw in (xattrs or {}).items():
        info.pax_headers[XATTR_PREFIX + key] = raw.decode("utf-8", "surrogateescape")
    return info, io.BytesIO(data) if data is not None else None


def directory(name: str, **fields: object) -> Member:
    return member(name, None, tarfile.DIRTYPE, **fields)  # type: ignore[arg-type]


def package(store: Store, signer: Signer, members: Iterable[Member]) -> Manifest:
    return packaging.write_package(store, members, Description("p", "1", "all"), None, signer)


class Seen(NamedTuple):
    """A path as the kernel shows it; `same_as` is the first name of its inode."""

    type: int
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int
    device: tuple[int, int]
    target: str
    digest: str
    xattrs: tuple[tuple[str, bytes], ...]
    same_as: str


@contextlib.contextmanager
def mounted(image: Path, where: Path) -> Iterator[Path]:
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop,ro", image, where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def tree(root: Path) -> dict[str, Seen]:
    """Everything below a directory, and itself as ""."""
    found: dict[str, Seen] = {}
    inodes: dict[int, str] = {}
    for path in [root, *sorted(root.rglob("*"), key=str)]:
        name = "" if path == root else str(path.relative_to(root))
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        regular = stat.S_ISREG(kind)
        xattrs = ()
        with contextlib.suppress(OSError):  # squashfs without attributes has no such operation
            names = sorted(os.listxattr(path, follow_symlinks=False))
            xattrs = tuple((key, os.getxattr(path, key, follow_symlinks=False)) for key in names)
        node = (os.major(status.st_rdev), os.minor(status.st_rdev))
        found[name] = Seen(
            kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, int(status.st_mtime),
            status.st_size if regular else 0, node,
            os.readlink(path) if stat.S_ISLNK(kind) else "",
            hashlib.sha256(path.read_bytes()).hexdigest() if regular else "",
            xattrs, inodes.setdefault(status.st_ino, name),
        )  # fmt: skip
    return found


_KINDS = {
    "directory": stat.S_IFDIR, "file": stat.S_IFREG, "symlink": stat.S_IFLNK,
    "character": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO,
}  # fmt: skip


def listed(store: Store, made: Manifest) -> dict[str, Seen]:
    """The same picture from the contents file."""
    return {
        one.path: Seen(
            _KINDS[one.type], one.mode, one.uid, one.gid, one.mtime, one.size, one.device,
            one.target, one.digest, tuple((k, bytes.fromhex(v)) for k, v in one.xattrs),
            one.hard_link or one.path,
        )
        for one in store.entries(made)
    }  # fmt: skip


def tar(members: Iterable[Member], *, form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of `members`, plain: as dpkg-deb would have written it."""
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=form, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for info, file in members:
            if file is not None:
                file.seek(0)  # a test may use its members again
            archive.addfile(info, file)
    return out.getvalue()


def ar(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """An ar archive as a .deb has it (deb(5))."""
    out = b"!<arch>\n"
    for name, data in parts:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        out += data + b"\n" * (len(data) % 2)
    return out


CONTROL = b"""\
Package: odd
Version: 1:2.0-3
Architecture: all
Maintainer: Somebody <somebody@example.org>
Description: made for a test
"""


def deb(path: Path, members: Iterable[Member], control: bytes | None = CONTROL,
        files: Iterable[Member] = (), *, form: int = tarfile.GNU_FORMAT) -> Path:  # fmt: skip
    """A hand-made .deb: `members` as its files, `control` and `files` as its control part."""
    first = [directory("./"), *files]
    if control is not None:
        first.insert(1, member("./control", control))
    path.write_bytes(ar([
        ("debian-binary", b"2.0\n"),
        ("control.tar", tar(first)),
        ("data.tar", tar(members, form=form)),
    ]))  # fmt: skip
    return path
