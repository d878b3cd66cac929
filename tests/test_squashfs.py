"""What goes into an image comes out of it, or is refused: each finding about sqfstar is held."""

import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from importing import CAPABILITY, directory, listed, member, mounted, package, tree

from bootunion import verity
from bootunion.errors import BootunionError
from bootunion.host import build, packaging, reproducible, squashfs
from bootunion.host.members import Member, Recorder
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting an image needs root")
NODE = {"devmajor": 4095, "devminor": (1 << 20) - 1}


def nasty() -> Iterator[Member]:
    names = (b"new\nline", b"back\\slash", b"a,b:c", b"\xff\xfe", b"-dash", b"--", b" ", b"*?[",
             b"#x", b"\x01\x7f", b".wh.plain", b"\xc3\x9e", b"n" * 255, b"a=b")  # fmt: skip
    for number, name in enumerate(names):
        yield member(os.fsdecode(name), name * number * 5000, mtime=number)
    yield directory("d", mode=0o1777, uid=70000, gid=4_000_000_000, mtime=7)
    yield member("d/setuid", b"x", mode=0o4755, mtime=(1 << 32) - 1)
    yield member("d/setgid", b"x", mode=0o2755, uid=(1 << 32) - 2, mtime=1 << 31)
    yield member("d/capable", b"x", xattrs={"security.capability": CAPABILITY, "user.e": b""})
    yield member("d/large", b"y", xattrs={"user.large": bytes(range(256)) * 256})
    yield directory("d/marked", xattrs={"trusted.x": b"=\n="})
    yield member("d/hard", kind=tarfile.LNKTYPE, linkname="d/capable")
    yield member("d/harder", kind=tarfile.LNKTYPE, linkname="./d/hard")
    yield member("fifo", kind=tarfile.FIFOTYPE, mode=0o600)
    yield member("character", kind=tarfile.CHRTYPE, **NODE)
    yield member("block", kind=tarfile.BLKTYPE, devmajor=259, devminor=300_000)
    yield member("link", kind=tarfile.SYMTYPE, linkname="\udcff\n\\", mode=0o777)
    yield member("long", kind=tarfile.SYMTYPE, linkname="x/" * 2000, mode=0o777)
    targets = ["/usr/\u0151", "../\u0151", "./\u0151", "//" + "x" * 120, "/" * 101, ".\u0151",
               "/\udcff", "/" + "x/" * 1999]  # fmt: skip
    targets += ["/" + "x" * count for count in (98, 99, 100)]
    for number, target in enumerate(targets):
        yield member(f"link {number} " + "\u0151" * (number % 3 * 60), kind=tarfile.SYMTYPE,
                     linkname=target, mode=0o777, uid=4_000_000_000 * (number % 2))  # fmt: skip


@needs_root
def test_odd_members_come_through_and_contents_say_the_same(
    tmp_path: Path, store: Store, signer: Signer
) -> None:
    made = package(store, signer, nasty())
    with mounted(store.packages / made.file_name, tmp_path / "m") as root:
        seen = tree(root)
    told = listed(store, made)
    assert {p: (seen.get(p), told.get(p)) for p in seen.keys() | told.keys()
            if seen.get(p) != told.get(p)} == {}  # fmt: skip
    assert seen["d/capable"].xattrs == (("security.capability", CAPABILITY), ("user.e", b""))
    assert seen["d/harder"].same_as == "d/capable"
    assert seen["character"].device == (4095, (1 << 20) - 1)


@needs_root
def test_a_directory_keeps_its_first_attributes_wherever_it_stands(
    tmp_path: Path, store: Store, signer: Signer
) -> None:
    made = package(store, signer, [
        member("a/b/file", b"1"),
        directory("a", mode=0o700, uid=5, mtime=9, xattrs={"user.x": b"1"}),
        directory("a", mode=0o755),
        directory("c/d"),
    ])  # fmt: skip
    with mounted(store.packages / made.file_name, tmp_path / "m") as root:
        seen = tree(root)
    assert seen == listed(store, made)
    assert (seen["a"].mode, seen["a"].uid, seen["a"].mtime) == (0o700, 5, 9)
    assert (seen["a/b"].mode, seen["a/b"].mtime) == (0o755, reproducible.EPOCH)
    assert (seen["c"].mode, seen["c"].mtime) == (0o755, reproducible.EPOCH)


@needs_root
@pytest.mark.parametrize("members", [[], [directory("./", mode=0o700, uid=9)]])
def test_the_root_directory_is_the_same_in_each_package(
    tmp_path: Path, store: Store, signer: Signer, members: list[Member]
) -> None:
    made = package(store, signer, members)
    with mounted(store.packages / made.file_name, tmp_path / "m") as root:
        seen = tree(root)
    assert seen == listed(store, made)
    assert (seen[""].mode, seen[""].uid, seen[""].mtime) == (0o755, 0, reproducible.EPOCH)


@needs_root
def test_the_root_directory_s_time_is_found_in_a_table_of_many_blocks(
    tmp_path: Path, store: Store, signer: Signer
) -> None:
    # An inode of an empty file takes 32 bytes, so these move the root's over a block's border.
    for count in range(250, 260):
        made = package(store, signer, [member(f"f{number:03}", b"") for number in range(count)])
        with mounted(store.packages / made.file_name, tmp_path / "m") as root:
            assert int(root.stat().st_mtime) == reproducible.EPOCH
            assert tree(root) == listed(store, made)


REFUSED = {
    "leads out": ([member("a/../../x", b"")], "member-invalid"),
    "leads out by a link": ([member("x", kind=tarfile.LNKTYPE, linkname="../x")], "member-invalid"),
    "NUL": ([member("a\0b", b"")], "member-invalid"),
    "256 bytes": ([member("é" * 128, b"")], "member-invalid"),
    "long directory": ([member("y" * 256 + "/f", b"")], "member-invalid"),
    "long path": ([member("/".join(["d" * 99] * 41), b"")], "member-invalid"),
    "link that does not fit": ([member("l", kind=tarfile.SYMTYPE, linkname="/" + "x" * 120,
                                       xattrs={"security.x": b"1"})], "member-invalid"),
    "link to nothing": ([member("l", kind=tarfile.SYMTYPE, linkname="")], "member-invalid"),
    "uid": ([member("f", b"", uid=(1 << 32) - 1)], "member-invalid"),
    "gid": ([member("f", b"", gid=1 << 32)], "member-invalid"),
    "before 1970": ([member("f", b"", mtime=-1)], "member-invalid"),
    "after 2106": ([member("f", b"", mtime=1 << 32)], "member-invalid"),
    "major": ([member("c", kind=tarfile.CHRTYPE, devmajor=4096)], "member-invalid"),
    "minor": ([member("c", kind=tarfile.BLKTYPE, devminor=1 << 20)], "member-invalid"),
    "type": ([member("f", kind=tarfile.GNUTYPE_SPARSE)], "member-invalid"),
    "later link": ([member("b", kind=tarfile.LNKTYPE, linkname="a"), member("a", b"")],
                   "member-invalid"),
    "list": ([member("f", b"", xattrs={"system.posix_acl_access": b"1"})], "member-invalid"),
    "attribute =": ([member("f", b"", xattrs={"user.a=b": b"1"})], "member-invalid"),
    "attribute name": ([member("f", b"", xattrs={"user.\udcff": b"1"})], "member-invalid"),
    "attribute size": ([member("f", b"", xattrs={"user.a": bytes(65537)})], "member-invalid"),
    "attribute length": ([member("f", b"", xattrs={"user." + "a" * 251: b""})], "member-invalid"),
    "root a file": ([member("./", b"")], "member-invalid"),
    "opaque": ([directory("d", xattrs={"trusted.overlay.opaque": b"y"})], "overlay-marker"),
    "redirect": ([directory("d", xattrs={"user.overlay.redirect": b"/"})], "overlay-marker"),
    "whiteout": ([member("w", kind=tarfile.CHRTYPE)], "overlay-marker"),
    "twice": ([member("f", b"1"), member("./f", b"1")], "path-conflict"),
    "link twice": ([member("l", kind=tarfile.SYMTYPE, linkname="a"),
                    member("l", kind=tarfile.SYMTYPE, linkname="b")], "path-conflict"),
    "below a link": ([member("l", kind=tarfile.SYMTYPE, linkname="/etc"), member("l/f", b"")],
                     "path-conflict"),
    "below a file": ([member("l", b""), member("l/f", b"")], "path-conflict"),
    "link over a directory": ([member("d/f", b""),
                               member("d", kind=tarfile.SYMTYPE, linkname="/etc")],
                              "path-conflict"),
    "directory over a link": ([member("d", kind=tarfile.SYMTYPE, linkname="/etc"),
                               directory("d")], "path-conflict"),
    "shrinks": ([member("f", b"short", size=99)], "member-invalid"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_an_image_cannot_or_must_not_hold_is_refused(
    store: Store, signer: Signer, what: str
) -> None:
    members, code = REFUSED[what]
    with pytest.raises(BootunionError) as caught:
        package(store, signer, members)
    assert caught.value.code == code
    assert caught.value.subject == "p"
    assert not list(store.packages.iterdir())


def test_the_same_symlink_twice_is_one(store: Store, signer: Signer) -> None:
    twice = [member("l", kind=tarfile.SYMTYPE, linkname="a") for _ in range(2)]
    assert list(listed(store, package(store, signer, twice))) == ["", "l"]


@pytest.mark.parametrize("clock", ["1999-01-01 00:00:00", "2090-06-01 12:00:00"])
def test_neither_clock_nor_processors_nor_surroundings_change_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    def feed(pipe: object) -> None:
        data = [os.urandom(1) * 3_000_000, b"".join(b"%d" % n for n in range(400_000))]
        data[0] = bytes(3_000_000)
        with tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
            recorder = Recorder("p", reproducible.EPOCH)
            some = [member(f"d{n % 3}/{n}", data[n % 2][: n * 40_000], mtime=n) for n in range(60)]
            recorder.pass_on(some, archive)

    squashfs.pack(tmp_path / "one", feed, what="packing", processors=1)
    faketime = tmp_path / "bin/sqfstar"
    faketime.parent.mkdir()
    # Only sqfstar's own clock differs; nothing else takes the time.
    faketime.write_text(f"#!/bin/sh\nexec faketime '{clock}' /usr/bin/sqfstar \"$@\"\n")
    faketime.chmod(0o755)
    monkeypatch.setenv("PATH", f"{faketime.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "12345")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "bin"))
    monkeypatch.setenv("LC_ALL", "C")
    old = os.umask(0o077)
    try:
        for processors in (2, 5):
            squashfs.pack(tmp_path / "two", feed, what="packing", processors=processors)
            assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()
            (tmp_path / "two").unlink()
    finally:
        os.umask(old)


def test_veritysetup_reads_our_tree_and_finds_a_flipped_bit(store: Store, signer: Signer) -> None:
    made = package(store, signer, [member("f", os.urandom(900_000))])
    image = store.packages / made.file_name
    check = ["veritysetup", "verify", image, image, made.image.root_hash,
             f"--hash-offset={made.image.hash_offset}"]  # fmt: skip
    subprocess.run(check, check=True)
    for offset in (5000, made.image.hash_offset - 1, made.image.size - 4096):
        good = image.read_bytes()
        bad = bytearray(good)
        bad[offset] ^= 4
        image.write_bytes(bad)
        assert subprocess.run(check, check=False, capture_output=True).returncode != 0
        image.write_bytes(good)
    assert made.image.size == image.stat().st_size == verity.file_size(made.image.data_blocks)


def test_a_tree_s_time_is_source_date_epoch(
    tmp_path: Path, store: Store, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1900000000")
    (tmp_path / "t").mkdir()
    (tmp_path / "t/f").touch()
    made = package(store, signer, build.members(tmp_path / "t"))
    assert listed(store, made)["f"].mtime == 1_900_000_000


def test_leaving_out_an_access_list_gives_the_group_nothing(
    tmp_path: Path, store: Store, signer: Signer
) -> None:
    path = tmp_path / "t/f"
    path.parent.mkdir()
    path.touch(0o600)
    # user::rw-, user:65534:rw-, group::---, mask::rw-, other::---
    entries = ((1, 6, 0xFFFFFFFF), (2, 6, 65534), (4, 0, 0xFFFFFFFF), (16, 6, 0xFFFFFFFF),
               (32, 0, 0xFFFFFFFF))  # fmt: skip
    acl = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + allowed.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, allowed, who in entries
    )
    try:
        os.setxattr(path, "system.posix_acl_access", acl)
    except OSError:
        pytest.skip("this file system has no access control lists")
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    made = package(store, signer, build.members(tmp_path / "t"))
    assert listed(store, made)["f"].mode == 0o600


def test_a_socket_is_refused(tmp_path: Path, store: Store, signer: Signer) -> None:
    (tmp_path / "t").mkdir()
    os.mknod(tmp_path / "t/s", stat.S_IFSOCK | 0o600)
    with pytest.raises(BootunionError) as caught:
        package(store, signer, build.members(tmp_path / "t"))
    assert caught.value.code == "member-invalid"


def test_a_large_file_is_streamed(store: Store, signer: Signer) -> None:
    class Zeros:
        largest = 0

        def read(self, size: int = -1) -> bytes:
            self.largest = max(self.largest, size)
            return bytes(size)

    zeros = Zeros()
    info, _ = member("large", size=400 << 20)
    made = packaging.write_package(
        store, [(info, zeros)], Description("p", "1", "all"), None, signer  # type: ignore[list-item]
    )  # fmt: skip
    assert listed(store, made)["large"].size == 400 << 20
    assert zeros.largest <= 1 << 20
