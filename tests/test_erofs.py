"""EROFS images: what squashfs brings through comes through them as well, or is refused."""

import copy
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import erofstools
import pytest
from composing import BOOTUNION, run
from importing import directory, listed, member, mounted, tree
from test_run import USER, Room
from test_run import room as room  # noqa: PLC0414 - a fixture
from test_squashfs import REFUSED, nasty

from bootunion.errors import BootunionError
from bootunion.host import erofs, importer, packaging, reproducible, signing
from bootunion.host.members import Member
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.manifest import Manifest
from bootunion.package import EROFS, EROFS_UNCOMPRESSED, EROFS_ZSTD, SQUASHFS

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting an image needs root")


@pytest.fixture(params=["trixie", "sid"])
def suite(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two versions of erofs-utils take turns."""
    erofstools.put_first(monkeypatch, erofstools.directory(request.param))
    return str(request.param)


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    erofstools.put_first(monkeypatch, erofstools.directory())


def package(
    store: Store, signer: Signer, members: Iterator[Member] | list[Member],
    image_format: str = EROFS, **more: object,
) -> Manifest:  # fmt: skip
    about = Description("p", "1", "all")
    return packaging.write_package(
        store, members, about, None, signer, image_format=image_format,
        **more,  # type: ignore[arg-type]
    )  # fmt: skip


def fitting() -> Iterator[Member]:
    """The odd members, but for the one attribute that EROFS has no room for."""
    for info, file in nasty():
        if info.name == "d/large":
            yield member("d/large", b"y", xattrs={"user.large": bytes(range(250)) * 127})
        else:
            yield info, file
    yield member("sparse", bytes(3 << 20) + b"x" + bytes(70_000))
    yield member("large", b"".join(b"%d" % n for n in range(300_000)))
    yield member("noise", os.urandom(200_001))
    yield directory("many")
    for number in range(700):
        yield member(f"many/{number:03}" + "x" * 40, b"%d" % number)


@needs_root
def test_odd_members_come_through_and_contents_say_the_same(
    suite: str, tmp_path: Path, store: Store, signer: Signer
) -> None:
    made = package(store, signer, fitting())
    assert made.file_name.endswith(".erofs")
    with mounted(store.packages / made.file_name, tmp_path / "m") as root:
        seen = tree(root)
    told = listed(store, made)
    assert {p: (seen.get(p), told.get(p)) for p in seen.keys() | told.keys()
            if seen.get(p) != told.get(p)} == {}  # fmt: skip
    assert len(seen["d/large"].xattrs[0][1]) > 31_000
    assert seen["d/harder"].same_as == "d/capable"


@needs_root
def test_a_directory_keeps_its_first_attributes_wherever_it_stands(
    suite: str, tmp_path: Path, store: Store, signer: Signer
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


@needs_root
@pytest.mark.parametrize("members", [[], [directory("./", mode=0o700, uid=9)]])
def test_the_root_directory_is_the_same_in_each_package(
    suite: str, tmp_path: Path, store: Store, signer: Signer, members: list[Member]
) -> None:
    made = package(store, signer, members)
    with mounted(store.packages / made.file_name, tmp_path / "m") as root:
        seen = tree(root)
    assert seen == listed(store, made)
    assert (seen[""].mode, seen[""].uid, seen[""].mtime) == (0o755, 0, reproducible.EPOCH)


@needs_root
def test_overlay_markers_that_are_allowed_come_through(
    suite: str, tmp_path: Path, store: Store, signer: Signer
) -> None:
    made = package(store, signer, [
        directory("gone", xattrs={"trusted.overlay.opaque": b"y"}),
        member("away", kind=tarfile.CHRTYPE),
    ], markers=("gone", "away"))  # fmt: skip
    with mounted(store.packages / made.file_name, tmp_path / "m") as root:
        seen = tree(root)
    assert seen == listed(store, made)
    assert seen["gone"].xattrs == (("trusted.overlay.opaque", b"y"),)


TOO_MUCH = {
    "one": {"user.a": bytes(32_001)},
    "three together": {f"user.{n}": bytes(11_000) for n in range(3)},
}


@pytest.mark.parametrize("what", [*REFUSED, *TOO_MUCH])
def test_what_an_image_cannot_or_must_not_hold_is_refused(
    tools: None, store: Store, signer: Signer, what: str
) -> None:
    # Copied, for the other format's test reads them, too.
    members, code = copy.deepcopy(REFUSED.get(what)) or (
        [member("f", b"", xattrs=TOO_MUCH[what])], "member-invalid",
    )  # fmt: skip
    with pytest.raises(BootunionError) as caught:
        package(store, signer, members)
    assert caught.value.code == code
    assert not list(store.packages.iterdir())


@pytest.mark.parametrize(
    ("image_format", "suites"),
    # zstd's bytes are those of one version of zstd, as with squashfs.
    [(EROFS, ("trixie", "sid", "trixie")), (EROFS_ZSTD, ("trixie", "trixie"))],
)
def test_every_version_and_number_of_threads_makes_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Path, image_format: str,
    suites: tuple[str, ...],
) -> None:  # fmt: skip
    noise = os.urandom(200_001)

    def members() -> Iterator[Member]:
        for info, file in fitting():
            yield (info, file) if info.name != "noise" else member("noise", noise)

    hashes, before = set(), os.environ["PATH"]
    for number, suite in enumerate(suites):
        monkeypatch.setenv("PATH", before)
        erofstools.put_first(monkeypatch, erofstools.directory(suite))
        monkeypatch.setenv("SOURCE_DATE_EPOCH", f"{number}")
        for processors in (1, 3):
            store = Store(tmp_path / f"{number}-{processors}").create()
            made = package(
                store, Signer(keys / "package.key"), members(), image_format, processors=processors
            )
            hashes.add(made.image.root_hash)
            assert erofs.made_as(store.packages / made.file_name) == image_format
        time.sleep(1.1)  # the clock, too, is not to be seen in it
    assert len(hashes) == 1


@needs_root
@pytest.mark.parametrize("image_format", [EROFS, EROFS_ZSTD, EROFS_UNCOMPRESSED])
def test_a_deb_is_one_package_of_each_format(
    tools: None, tmp_path: Path, store: Store, signer: Signer, keys: Path, debs: dict[str, Path],
    image_format: str,
) -> None:  # fmt: skip
    names = ("sudo", "perl-base", "ca-certificates", "cmake-data", "coreutils")
    files = [debs[name] for name in names]
    one = importer.import_debs(files, store, signer, lambda _: None)
    known = importer.known_manifests(store, signing.read_trust(keys / "trust"))
    other = importer.import_debs(
        files, store, signer, lambda _: None, known=known, image_format=image_format
    )
    for squashfs, made in zip(one, other, strict=True):
        assert (squashfs.image.format, made.image.format) == (SQUASHFS, EROFS)
        assert erofs.made_as(store.packages / made.file_name) == image_format
        assert squashfs.contents == made.contents
        with mounted(store.packages / made.file_name, tmp_path / "m") as root:
            assert tree(root) == listed(store, squashfs)


def test_a_mkfs_erofs_that_cannot_read_a_tar_is_said_to_be_too_old(
    tmp_path: Path, store: Store, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "mkfs.erofs"
    # What 1.5 says (Debian 12), shortened.
    old.write_text("#!/bin/sh\necho ' -U# --all-root --blobdev=X --chunksize=#' >&2\n")
    old.chmod(0o755)
    erofstools.put_first(monkeypatch, tmp_path)
    with pytest.raises(BootunionError) as caught:
        package(store, signer, [member("f", b"x")])
    assert caught.value.code == "program-missing"
    assert "Debian 13" in caught.value.message
    assert not list(store.packages.iterdir())


@needs_root
def test_a_list_of_erofs_packages_is_planned_verified_and_run(tools: None, room: Room) -> None:
    room.desk.image_format = EROFS
    room.desk.list(room.desk.package("three", "3", **{"usr/lib/demo/three": "3\n"}), room.box())
    where = ("--store", room.desk.store.path, "--trust", room.desk.keys / "trust")
    steps = run([str(BOOTUNION), "plan", "desk", "--operations", *map(str, where)])
    assert "mount three (erofs), read-only" in steps.out
    verified = run([str(BOOTUNION), "verify", "desk", *map(str, where)])
    assert verified.status == 0, verified.err
    words = ("--with", "three", "--", "cat", "/usr/lib/demo/three")
    assert room.out(*words) == "3\n"
    refused = room.say(*words, user=USER)
    assert "[privilege-missing]" in refused.err
    assert "EROFS" in refused.err
