"""The walk, the comparing, what is contested and the digest, each alone."""

import errno
import gc
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from composing import needs_root

from bootunion import comparing, contents, merge
from bootunion.comparing import Difference, Unseen, compare
from bootunion.contents import Entry
from bootunion.host import gathering, namespace, walking
from bootunion.initrd import mount
from bootunion.merge import Contested

ROOT = Entry("", contents.DIRECTORY, 0o755, 0, 0)


def directory(path: str, *xattrs: tuple[str, str]) -> Entry:
    return Entry(path, contents.DIRECTORY, 0o755, 0, 0, xattrs=xattrs)


def file(path: str, text: str = "a", **more: object) -> Entry:
    made = Entry(path, contents.FILE, 0o644, 0, 0, size=1, digest=text * 64)
    return made._replace(**more)  # type: ignore[arg-type]


def symlink(path: str, target: str = "x") -> Entry:
    return Entry(path, contents.SYMLINK, 0o777, 0, 0, target=target)


def whiteout(path: str) -> Entry:
    return Entry(path, contents.CHARACTER, 0, 0, 0)


OPAQUE = ("trusted.overlay.opaque", "79")
CAPABLE = (("security.capability", "00"),)


@pytest.mark.parametrize(
    "winner, loser, kind",
    [
        (whiteout("a"), file("a"), "whiteout"),
        (whiteout("a"), directory("a"), "whiteout"),
        (directory("a", OPAQUE), directory("a"), "opaque"),
        (directory("a"), symlink("a"), "directory-over-symlink"),
        (symlink("a"), directory("a"), "type"),
        (symlink("a"), file("a"), "type"),
        (file("a"), file("a", mode=0o4644), "privilege"),
        (file("a", "b", mode=0o2755), file("a"), "privilege"),
        (file("a", xattrs=CAPABLE), file("a"), "privilege"),
        (file("a", mode=0o4755), file("a", mode=0o4755, uid=1), "privilege"),
        (file("a", "b", mode=0o4755), file("a", mode=0o4755), "content"),
        (file("a"), file("a", "b"), "content"),
        (symlink("a"), symlink("a", "y"), "content"),
        (directory("a"), directory("a")._replace(mode=0o2755), "metadata"),
        (file("a"), file("a", gid=1), "metadata"),
        (file("a"), file("a", xattrs=(("user.x", ""),)), "metadata"),
        (file("a"), file("a", mtime=9), "same"),
        (symlink("a"), symlink("a")._replace(mode=0o700), "same"),
    ],
)
def test_a_pair_has_the_worst_kind_that_applies(winner: Entry, loser: Entry, kind: str) -> None:
    merged = merge.merge([[ROOT, winner], [ROOT, loser]])
    assert merged.contested == (Contested("a", 0, 1, kind),)


def test_directories_that_merge_and_whiteouts_below_are_not_contested() -> None:
    bottom = [ROOT, directory("a"), whiteout("b"), whiteout("c")]
    merged = merge.merge([[ROOT, directory("a"), file("b")], bottom])
    assert merged.contested == ()
    assert set(merged.paths) == {"", "a", "b"}


def test_what_lies_below_is_hidden_by_whoever_hides_its_directory() -> None:
    layers = [
        [ROOT, directory("a"), file("a/given")],
        [ROOT, whiteout("a")],
        [ROOT, directory("a"), directory("a/d"), file("a/d/x"), file("a/given", "b")],
    ]
    assert merge.merge(layers).contested == (
        Contested("a", 1, 2, "whiteout"),
        Contested("a/d", 1, 2, "whiteout"),
        Contested("a/d/x", 1, 2, "whiteout"),
        Contested("a/given", 0, 2, "content"),
    )


def test_each_field_changes_the_digest_but_the_time_does_not() -> None:
    def digest(entry: Entry, identity: str = "1") -> str:
        return merge.merge([[ROOT, entry]]).digest([identity])

    plain = file("a")
    changes: tuple[dict[str, object], ...] = (
        {"path": "b"}, {"type": "fifo"}, {"mode": 0o600}, {"uid": 1}, {"gid": 1}, {"size": 2},
        {"digest": "b" * 64}, {"target": "x"}, {"device": (0, 1)}, {"xattrs": (("user.x", ""),)},
        {"xattrs": (("user.x", "00"),)}, {"xattrs": (("user.x", ""), ("user.y", ""))},
    )  # fmt: skip
    made = [digest(plain._replace(**change)) for change in changes]  # type: ignore[arg-type]
    assert len({digest(plain), digest(plain, "2"), *made}) == len(changes) + 2
    assert digest(plain._replace(mtime=7, hard_link="b")) == digest(plain)


def test_the_digest_is_the_documented_one() -> None:
    """docs/formats.md, with other tools: a machine may have to say the same years from now."""
    entry = file("a\udcff", mode=0o4755, uid=7, xattrs=(("user.x", "00"),))
    records = (
        b"\0id\0directory\x00755\x000\x000\x000\0\0\x000:0\x000\0\n"
        b"a\xed\xb3\xbf\0id\0file\x004755\x007\x000\x001\0" + b"a" * 64 + b"\0\x000:0\x001\0"
        b"user.x\x0000\0\n"
    )
    import hashlib

    assert merge.merge([[ROOT, entry]]).digest(["id"]) == hashlib.sha256(records).hexdigest()


def found(entry: Entry, seen: Entry | Unseen) -> list[tuple[str, str, str]]:
    merged = merge.merge([[ROOT, entry]])
    return [one[1:] for one in compare(merged.paths, [ROOT, seen])]


@pytest.mark.parametrize(
    "expected, seen, difference",
    [
        (file("a"), symlink("a"), ("type", "file", "symlink")),
        (file("a"), file("a", mode=0o600), ("mode", "0644", "0600")),
        (file("a"), file("a", uid=1, gid=2), ("owner", "0:0", "1:2")),
        (file("a"), file("a", "b", size=2), ("size", "1", "2")),
        (file("a"), file("a", "b"), ("content", "a" * 64, "b" * 64)),
        (symlink("a"), symlink("a", "y"), ("target", "x", "y")),
        (file("a"), file("a", xattrs=CAPABLE), ("xattrs", "", "security.capability=00")),
        (whiteout("a")._replace(device=(1, 3)), whiteout("a")._replace(device=(1, 5)),
         ("device", "1:3", "1:5")),
        (file("a"), Unseen("a", "content", errno.EIO, "bad"), ("unreadable", "file", "bad")),
        (file("a"), Unseen("a", "status", errno.ENOENT, "gone"), ("missing", "file", "")),
    ],
)  # fmt: skip
def test_each_difference_is_named(
    expected: Entry, seen: Entry | Unseen, difference: tuple[str, str, str]
) -> None:
    assert found(expected, seen) == [difference]


def test_what_does_not_matter_is_no_difference() -> None:
    assert found(symlink("a"), symlink("a")._replace(mode=0o700, mtime=3)) == []
    assert found(file("a"), file("a", digest="", hard_link="b")) == []
    assert found(directory("a", OPAQUE), directory("a")) == []
    label = (("security.selinux", "00"),)
    assert found(file("a"), file("a", xattrs=label)) == []
    assert found(file("a", xattrs=label), file("a")) == [("xattrs", "security.selinux=00", "")]
    other = (("security.selinux", "01"),)
    assert found(file("a", xattrs=label), file("a", xattrs=other)) == [
        ("xattrs", "security.selinux=00", "security.selinux=01")
    ]


def test_missing_and_unexpected_paths_come_in_their_order() -> None:
    merged = merge.merge([[ROOT, file("b"), directory("c"), file("c/x"), file("d")]])
    unseen = (Unseen("f", "status", errno.ENOENT), Unseen("g", "status", errno.EIO, "bad"))
    mounted = Unseen("c", comparing.MOUNT)
    walked = [ROOT, file("a"), file("b"), mounted, file("e"), *unseen]
    assert list(compare(merged.paths, walked)) == [
        Difference("a", "unexpected", "", "file"),
        Difference("d", "missing", "file", ""),
        Difference("e", "unexpected", "", "file"),
        Difference("g", "unreadable", "", "bad"),
    ]


def test_an_empty_root_misses_everything() -> None:
    merged = merge.merge([[ROOT, file("b")]])
    assert [one.path for one in compare(merged.paths, [])] == ["", "b"]


def test_a_walk_comes_in_the_order_of_paths_and_names_are_any_bytes(tmp_path: Path) -> None:
    for name in (b"a/x", b"a-b/y", b"a0", b"a/\xff\n", b"a.c", "a/é/z".encode()):
        place = os.path.join(os.fsencode(tmp_path), name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        Path(os.fsdecode(place)).touch()
    paths = [one.path for one in walking.walk(tmp_path)]
    assert paths == sorted(paths)
    assert paths == ["", "a", "a-b", "a-b/y", "a.c", "a/x", "a/é", "a/é/z", "a/\udcff\n", "a0"]


def test_a_walk_says_everything_of_a_file(tmp_path: Path) -> None:
    place = tmp_path / "f"
    place.write_bytes(b"x")
    place.chmod(0o640)
    os.setxattr(place, "user.x", b"\1")
    status = place.stat()
    plain = Entry("f", contents.FILE, 0o640, status.st_uid, status.st_gid, int(status.st_mtime), 1,
                  "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
                  xattrs=(("user.x", "01"),))  # fmt: skip
    assert list(walking.walk(tmp_path))[1] == plain
    assert list(walking.walk(f"{tmp_path}/", content=False))[1] == plain._replace(digest="")


@needs_root
def test_overlayfs_s_own_attributes_are_shown_on_demand(tmp_path: Path) -> None:
    os.setxattr(tmp_path, "trusted.overlay.opaque", b"y")
    os.setxattr(tmp_path, "trusted.other", b"")
    plain, whole = next(walking.walk(tmp_path)), next(walking.walk(tmp_path, overlay_xattrs=True))
    assert isinstance(plain, Entry) and isinstance(whole, Entry)
    assert plain.xattrs == (("trusted.other", ""),)
    assert whole.xattrs == (("trusted.other", ""), OPAQUE)


def test_a_root_that_is_not_there_is_named(tmp_path: Path) -> None:
    (one,) = walking.walk(tmp_path / "none")
    assert one == Unseen("", "status", errno.ENOENT, os.strerror(errno.ENOENT))


def in_tmpfs(where: Path, work: Callable[[], list[Entry | Unseen]]) -> list[Entry | Unseen]:
    def inside() -> list[Entry | Unseen]:
        mount.mount("test", str(where), "tmpfs")
        return work()

    return namespace.in_namespace(inside)


@needs_root
def test_a_walk_enters_no_other_mount_be_it_a_file(tmp_path: Path) -> None:
    def work() -> list[Entry | Unseen]:
        (tmp_path / "d/below").mkdir(parents=True)
        (tmp_path / "f").touch()
        mount.mount("test", str(tmp_path / "d"), "tmpfs")
        (tmp_path / "d/inside").touch()
        # The same file system, and yet another mount.
        mount.mount(str(tmp_path / "f"), str(tmp_path / "f"), "", 4096)  # MS_BIND
        os.mknod(tmp_path / "s", stat.S_IFSOCK | 0o600)
        return list(walking.walk(tmp_path))

    found = in_tmpfs(tmp_path, work)
    assert found[1:3] == [Unseen("d", comparing.MOUNT), Unseen("f", comparing.MOUNT)]
    assert [(one.path, one.type) for one in found[3:] if isinstance(one, Entry)] == [
        ("s", walking.SOCKET)
    ]
    assert len(found) == 4


@needs_root
def test_what_the_kernel_does_not_show_is_named_and_the_walk_goes_on(tmp_path: Path) -> None:
    def work() -> list[Entry | Unseen]:
        for name in ("closed", "open"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "x").touch()
        (tmp_path / "closed").chmod(0)
        (tmp_path / "secret").touch(0)
        os.chdir(tmp_path)  # its parents are closed to others
        os.seteuid(65534)
        try:
            return list(walking.walk("."))
        finally:
            os.seteuid(0)

    denied = os.strerror(errno.EACCES)
    found = in_tmpfs(tmp_path, work)
    assert [one if isinstance(one, Unseen) else one.path for one in found] == [
        "", Unseen("closed", "directory", errno.EACCES, denied), "open", "open/x",
        Unseen("secret", "content", errno.EACCES, denied),
    ]  # fmt: skip


def test_the_collector_rests_while_many_values_are_made_and_works_again_afterwards() -> None:
    made: list[list[object]] = []
    try:
        with pytest.raises(KeyError), gathering.many_values():
            assert not gc.isenabled()
            made.append([])
            raise KeyError
        assert gc.isenabled()
        assert not any(one is made for one in gc.get_objects())
    finally:
        gc.unfreeze()
