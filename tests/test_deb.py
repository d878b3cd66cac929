"""A .deb comes through whole: its files as in its tar, its record as `dpkg --unpack` writes it."""

import hashlib
import io
import os
import posixpath
import re
import stat
import struct
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from importing import CAPABILITY, CONTROL, Seen, deb, directory, listed, member, mounted, tree

from bootunion.errors import BootunionError
from bootunion.host import deb as reading
from bootunion.host import importer
from bootunion.host.members import XATTR_PREFIX, Member
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.manifest import Manifest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="dpkg and mounting need root")
HARD, SYMLINK, FIFO = tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE
CHARACTER, BLOCK = tarfile.CHRTYPE, tarfile.BLKTYPE

FOLDED = b"""\
pACKAGE: odd
vERSION: 1:2.0-3
ARCHITECTURE: amd64
Maintainer:   Somebody <somebody@example.org>\x20
x-Some-field: kept
multi-arch: same
Depends: a (>= 1),
 b | c
installed-size: 5
Description: short \xff
  as it stands
 .
 \x09more
"""

# Each: the files, then the further files of the control part.
HAND: dict[str, tuple[list[Member], list[Member]]] = {
    "nothing at all": ([], []),
    "wholly empty": ([directory("./")], []),
    "no root directory": ([directory("usr/"), member("usr/f", b"x")], []),
    "hard links, no md5sums": (
        [directory("./"), directory("./bin"), member("./bin/f", b"x" * 70_000),
         directory("./usr"), member("./usr/g", kind=HARD, linkname="./bin/f"),
         member("./usr/h", kind=HARD, linkname="./usr/g")], []),
    "empty md5sums": ([directory("./"), member("./f", b"1")], [member("./md5sums", b"")]),
    "odd names": (
        [directory("./"), directory("./" + "d" * 140), member("./" + "d" * 140 + "/" + "n" * 200,
         b"1"), member("./\udcff\udcfe", b"2"), member("./a b,c:d=\\[*", b"3"),
         member("./-dash", b"4"), member("./.wh.x", b"5"), member("./\x01\x7f", b"6")], []),
    "symlinks before files": (
        [directory("./"), member("./l", kind=SYMLINK, linkname="/x"), member("./f", b"1")], []),
    "conffiles": (
        [directory("./"), directory("./etc"), member("./etc/a b", b"x"), member("./etc/c", b""),
         member("./etc/l", kind=SYMLINK, linkname="c"),
         member("./etc/h", kind=HARD, linkname="./etc/c")],
        [member("./conffiles", b"/etc/a b\n\nremove-on-upgrade /etc/old\n/etc/c\n/etc/l\n"
                               b"/etc/h\n/etc/gone\n")]),
    "odd control files": (
        [directory("./")],
        [member("./a.b", b"1"), member("./odd", b"1", mode=0o600), member("./list", b"lies\n"),
         member("./config", b"#!/bin/sh\n"), member("./postinst", b"#!/bin/sh\n", mode=0o700)]),
    "nodes": (
        [directory("./"), directory("./dev"), member("./dev/fifo", kind=FIFO),
         member("./dev/null", kind=CHARACTER, devmajor=1, devminor=3, mode=0o666),
         member("./dev/sda", kind=BLOCK, devmajor=8, devminor=0, gid=6, mode=0o660)], []),
    "owners and modes": (
        [directory("./"), directory("./t", mode=0o1777, uid=70000, gid=5, mtime=99),
         member("./t/s", b"x", mode=0o6755, uid=12, mtime=1)], []),
    "directory twice": (
        [directory("./"), directory("./d", mode=0o700), member("./d/f", b""), directory("./d/")],
        []),
}  # fmt: skip

# A static program for amd64 that does nothing: maintainer scripts run, and do nothing.
_CODE = b"\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05"  # exit(0)
_TRUE = (
    struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56,
                1, 0, 0, 0)
    + struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 120 + len(_CODE), 120 + len(_CODE),
                  4096)
    + _CODE
)  # fmt: skip


def unpacked(root: Path, file: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and bytes of each file of dpkg's record after a real `dpkg --unpack`."""
    admin = root / "var/lib/dpkg"
    for name in ("bin", "usr/bin", "var/lib/dpkg/info", "var/lib/dpkg/updates"):
        (root / name).mkdir(parents=True)
    (admin / "status").touch()
    for name in ("bin/sh", "bin/bash", "usr/bin/perl"):
        (root / name).write_bytes(_TRUE)
        (root / name).chmod(0o755)
    subprocess.run(
        ["dpkg", f"--root={root}", "--force-depends", "--force-unsafe-io", "--no-triggers",
         "--unpack", file], check=True, capture_output=True,
    )  # fmt: skip
    found = {
        path.name: (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for path in (admin / "info").iterdir()
        if path.name != "format"
    }
    found["status"] = (0o644, (admin / "status").read_bytes().rstrip(b"\n") + b"\n")
    return found


def recorded(file: Path) -> dict[str, tuple[int, bytes]]:
    """The same files as an import makes them."""
    found = {}
    md5: dict[str, str] = {}
    for info, data in reading.members(file, reading.read_control(file)):
        raw = data.read(info.size) if data else b""
        if info.name.startswith("var/lib/dpkg/info/"):
            found[posixpath.basename(info.name)] = (info.mode, raw)
        elif info.name.startswith("var/lib/dpkg/status.d/"):
            found["status"] = (info.mode, raw)
        elif info.isreg():
            md5["/" + info.name] = hashlib.md5(raw).hexdigest()
        elif info.islnk():
            md5["/" + info.name] = md5["/" + info.linkname]
    mode, status = found["status"]
    # The import has what `dpkg --configure` would put in the place of `newconffile`.
    for path, digest in re.findall(r"^ (/.*?) ([0-9a-f]{32})\b", status.decode("latin-1"), re.M):
        assert md5[path] == digest
        status = status.replace(f"{path} {digest}".encode(), f"{path} newconffile".encode())
    found["status"] = (mode, status)
    return found


REAL = (
    "at", "auditd", "base-files", "ca-certificates", "cmake-data", "coreutils", "dash",
    "dbus-daemon", "libc6", "perl-base", "sudo", "unzip",
)  # fmt: skip


@needs_root
@pytest.mark.parametrize("name", REAL)
def test_dpkg_would_have_recorded_the_same(
    tmp_path: Path, debs: dict[str, Path], name: str
) -> None:
    assert recorded(debs[name]) == unpacked(tmp_path / "root", debs[name])


@needs_root
@pytest.mark.parametrize("what", HAND)
def test_dpkg_would_have_recorded_the_same_of_a_hand_made_one(tmp_path: Path, what: str) -> None:
    members, control = HAND[what]
    made = deb(tmp_path / "odd.deb", members, files=control)
    assert recorded(made) == unpacked(tmp_path / "root", made)


@needs_root
def test_dpkg_would_have_read_the_same_fields(tmp_path: Path) -> None:
    made = deb(tmp_path / "odd.deb", [directory("./")], FOLDED)
    ours, theirs = recorded(made), unpacked(tmp_path / "root", made)
    # dpkg puts a list of packages on one line when it writes.
    text = ours["status"][1].replace(b",\n b", b", b")
    assert ours | {"status": (0o644, text)} == theirs
    assert "odd:amd64.list" in ours


def of_tar(file: Path) -> dict[str, Seen]:
    """What a .deb's tar holds, by the path on a merged /usr."""
    moved = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
    found: dict[str, Seen] = {}

    def move(path: str) -> str:
        path = posixpath.normpath(path)
        return f"usr/{path}" if path.split("/")[0] in moved else path

    raw_tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", file], stdout=-1, check=True).stdout
    with tarfile.open(
        fileobj=io.BytesIO(raw_tar), encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for info in archive:
            path = move(info.name)
            if info.islnk():
                found[path] = found[move(info.linkname)]
                continue
            kind = {tarfile.DIRTYPE: stat.S_IFDIR, SYMLINK: stat.S_IFLNK, FIFO: stat.S_IFIFO,
                    CHARACTER: stat.S_IFCHR, BLOCK: stat.S_IFBLK}.get(
                        info.type, stat.S_IFREG)  # fmt: skip
            raw = archive.extractfile(info).read() if info.isreg() else b""  # type: ignore[union-attr]
            xattrs = tuple(
                (key.removeprefix(XATTR_PREFIX), value.encode("utf-8", "surrogateescape"))
                for key, value in sorted(info.pax_headers.items())
                if key.startswith(XATTR_PREFIX)
            )
            found.setdefault(path, Seen(
                kind, info.mode if not info.issym() else 0o777, info.uid, info.gid,
                int(info.mtime), len(raw), (info.devmajor, info.devminor),
                aim(info.name, info.linkname) if info.issym() else "",
                hashlib.sha256(raw).hexdigest() if info.isreg() else "", xattrs, path,
            ))  # fmt: skip
    return found


def aim(path: str, target: str) -> str:
    """Where a symlink points, on a merged /usr."""
    place = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), target))
    return re.sub(r"^/(?=(?:bin|sbin|lib|lib32|lib64|libx32)(?:/|$))", "/usr/", place)


def names_of_inodes(found: dict[str, Seen], paths: Iterable[str]) -> dict[str, list[str]]:
    """For each path all names of its inode."""
    names: dict[str, list[str]] = {}
    for path, one in sorted(found.items()):
        names.setdefault(one.same_as, []).append(path)
    return {path: names[found[path].same_as] for path in paths}


def lost(tmp_path: Path, store: Store, made: Manifest, file: Path) -> dict[str, object]:
    """What differs between a .deb's tar, the mounted image and the contents file."""
    with mounted(store.packages / made.file_name, tmp_path / "m") as root:
        seen = tree(root)
    assert seen == listed(store, made)
    wanted = of_tar(file)
    wanted.pop(".", None)
    # Which of its names is an inode's first depends on the order.
    assert names_of_inodes(seen, wanted) == names_of_inodes(wanted, wanted)
    found = {
        path: one._replace(target=aim(path, one.target) if one.target else "", same_as="")
        for path, one in seen.items()
    }
    others = {path: one for path, one in seen.items() if not path.startswith("var/lib/dpkg")}
    extra = [path for path in others.keys() - wanted.keys() if others[path].type != stat.S_IFDIR]
    assert not extra
    return {
        path: (one, found.get(path))
        for path, one in wanted.items()
        if one._replace(same_as="") != found.get(path)
    }


@needs_root
@pytest.mark.parametrize("name", REAL)
def test_a_deb_loses_nothing(
    tmp_path: Path, store: Store, signer: Signer, debs: dict[str, Path], name: str
) -> None:
    made = importer.import_deb(debs[name], store.path, signer, {})
    assert lost(tmp_path, store, made, debs[name]) == {}


@needs_root
@pytest.mark.parametrize("what", HAND)
def test_a_hand_made_deb_loses_nothing(
    tmp_path: Path, store: Store, signer: Signer, what: str
) -> None:
    file = deb(tmp_path / "odd.deb", HAND[what][0], files=HAND[what][1])
    made = importer.import_deb(file, store.path, signer, {})
    assert lost(tmp_path, store, made, file) == {}


@needs_root
def test_attributes_come_through(tmp_path: Path, store: Store, signer: Signer) -> None:
    # dpkg itself does not read pax headers; other makers of .debs write them.
    file = deb(tmp_path / "odd.deb", [
        directory("./"), directory("./bin", xattrs={"user.d": b"\xff"}),
        member("./bin/ping", b"x", xattrs={"security.capability": CAPABILITY, "user.e": b""}),
    ], form=tarfile.PAX_FORMAT)  # fmt: skip
    made = importer.import_deb(file, store.path, signer, {})
    assert lost(tmp_path, store, made, file) == {}
    entries = {one.path: one for one in store.entries(made)}
    assert dict(entries["usr/bin/ping"].xattrs)["security.capability"] == CAPABILITY.hex()


def test_a_symlink_that_moves_points_where_it_did(
    tmp_path: Path, store: Store, signer: Signer
) -> None:
    links = {"./lib/a/one": "../../etc/x", "./lib/a/two": "../b", "./lib/three": "../usr/y",
             "./bin/four": "../lib/a/z", "./sbin/five": "/bin/four", "./usr/six": "../lib/b",
             "./bin/seven": "./../bin/./sh", "./lib/a/eight": ".."}  # fmt: skip
    file = deb(tmp_path / "odd.deb", [
        member(path, kind=SYMLINK, linkname=target) for path, target in links.items()
    ])  # fmt: skip
    entries = store.entries(importer.import_deb(file, store.path, signer, {}))
    found = {one.path: aim(one.path, one.target) for one in entries if one.target}
    moved = {aim("x", path.removeprefix("./")).lstrip("/"): aim(path, target)
             for path, target in links.items()}  # fmt: skip
    assert found == moved
    assert {one.path: one.target for one in entries}["usr/lib/a/two"] == "../b"  # as it was


def test_the_manifest_says_what_the_control_file_says(
    tmp_path: Path, store: Store, signer: Signer
) -> None:
    made = importer.import_deb(
        deb(tmp_path / "odd.deb", [directory("./")], FOLDED), store.path, signer, {}
    )
    assert made[:5] == ("odd", "1:2.0-3", "amd64", "short \ufffd", ("a (>= 1)", "b | c"))


BAD = {
    "a name that leads out": [member("./../x", b"1")],
    "an absolute name": [member("/etc/x", b"1")],
    "a hard link that leads out": [member("./l", kind=HARD, linkname="../../etc/passwd")],
    "an absolute hard link": [member("./f", b""), member("./l", kind=HARD, linkname="/f")],
    "a hard link to nothing": [member("./l", kind=HARD, linkname="./etc/passwd")],
    "a newline": [member("./a\nb", b"1")],
    "a path on both sides of the merge": [member("./bin/x", b"1"), member("./usr/bin/x", b"2")],
    "a file below a symlink": [member("./d", kind=SYMLINK, linkname="/etc"),
                               member("./d/passwd", b"1")],
    "a whiteout": [member("./w", kind=CHARACTER)],
}  # fmt: skip
BAD_CODES = {
    "a path on both sides of the merge": "path-conflict",
    "a file below a symlink": "path-conflict",
    "a whiteout": "overlay-marker",
}


@pytest.mark.parametrize("what", BAD)
def test_a_deb_with_a_bad_member_is_refused(
    tmp_path: Path, store: Store, signer: Signer, what: str
) -> None:
    file = deb(tmp_path / "odd.deb", [directory("./"), *BAD[what]])
    with pytest.raises(BootunionError) as caught:
        importer.import_deb(file, store.path, signer, {})
    assert caught.value.code == BAD_CODES.get(what, "member-invalid")
    assert caught.value.subject == "odd"
    assert not list(store.packages.iterdir())


BAD_CONTROL = {
    "no control file": (None, [member("./md5sums", b"")]),
    "empty": (b"", []),
    "no version": (CONTROL.replace(b"Version", b"Vision"), []),
    "a field twice": (CONTROL + b"version: 2\n", []),
    "a blank line": (CONTROL.replace(b"Maint", b"\nMaint"), []),
    "no field": (CONTROL + b"just words\n", []),
    "a directory": (CONTROL, [directory("./sub")]),
    "a symlink": (CONTROL, [member("./templates", kind=SYMLINK, linkname="/etc/passwd")]),
    "a cut conffiles": (CONTROL, [member("./conffiles", b"/etc/x")]),
    "a path as name": (CONTROL.replace(b"odd", b"../odd"), []),
    "a path as version": (CONTROL.replace(b"1:2.0-3", b"1/../2"), []),
}


@pytest.mark.parametrize("what", BAD_CONTROL)
def test_a_bad_control_part_is_refused(
    tmp_path: Path, store: Store, signer: Signer, what: str
) -> None:
    control, files = BAD_CONTROL[what]
    file = deb(tmp_path / "odd.deb", [directory("./")], control, files)
    with pytest.raises(BootunionError) as caught:
        importer.import_deb(file, store.path, signer, {})
    assert caught.value.code == ("name-invalid" if "path" in what else "deb-invalid")
    assert "\n" not in str(caught.value)
    assert not list(store.packages.iterdir())


def test_control_files_are_kept_with_their_case(tmp_path: Path) -> None:
    """A regular file's bytes are the .deb's, also when they are no text."""
    raw = bytes(range(256))
    file = deb(tmp_path / "odd.deb", [directory("./")], files=[member("./Symbols", raw)])
    assert recorded(file)["odd.Symbols"] == (0o644, raw)
