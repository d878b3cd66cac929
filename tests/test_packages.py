"""Packages: nothing is lost on the way in, the same input gives the same bytes, bad input is
refused and leaves nothing behind."""

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from bootunion.errors import BootunionError
from bootunion.host import build, importer, packaging, systemyaml
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.manifest import Manifest


def make(directory: Path, store: Store, signer: Signer, **named: bool) -> Manifest:
    members = build.members(directory, **named)  # type: ignore[arg-type]
    return packaging.write_package(store, members, Description("p", "1", "all"), None, signer)


def unpack(store: Store, made: Manifest, target: Path) -> Path:
    image = store.packages / made.file_name
    subprocess.run(["unsquashfs", "-q", "-n", "-d", target, image], check=True)
    return target


def facts(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    content: object = None
    if stat.S_ISLNK(status.st_mode):
        content = path.readlink()
    elif stat.S_ISREG(status.st_mode):
        content = path.read_bytes()
    xattrs = [(k, os.getxattr(path, k, follow_symlinks=False))
              for k in os.listxattr(path, follow_symlinks=False)]  # fmt: skip
    mode = status.st_mode if not stat.S_ISLNK(status.st_mode) else stat.S_IFLNK
    links = status.st_nlink if stat.S_ISREG(status.st_mode) else 0
    return mode, status.st_uid, status.st_gid, status.st_rdev, links, content, xattrs


@pytest.mark.skipif(os.geteuid() != 0, reason="device nodes and owners need root")
def test_a_directory_comes_back_as_it_was(tmp_path: Path, store: Store, signer: Signer) -> None:
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    for name in (
        b"plain",
        b"new\nline",
        b"back\\slash",
        b"a,b:c",
        b"\xff\xfe",
        b"-dash",
        b"n" * 255,
    ):
        (tree / os.fsdecode(name)).write_bytes(name * 9000)
    os.link(tree / "plain", tree / "d/hard")
    (tree / "link").symlink_to("../etc/x")
    (tree / "plain").chmod(0o4755)
    os.chown(tree / "d", 70000, 8)
    os.mkfifo(tree / "fifo")
    os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    capability = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)
    (tree / "d/capable").write_bytes(b"x")
    os.setxattr(tree / "d/capable", "security.capability", capability)
    os.setxattr(tree / "d/capable", "user.binary", b"\xff\x00\n=\x80")
    made = make(tree, store, signer, keep_owner=True)
    back = unpack(store, made, tmp_path / "back")
    names = {str(path.relative_to(tree)) for path in tree.rglob("*")}
    assert {str(path.relative_to(back)) for path in back.rglob("*")} == names
    different = {n: (facts(tree / n), facts(back / n)) for n in names
                 if facts(tree / n) != facts(back / n)}  # fmt: skip
    assert not different
    listed = {entry.path for entry in store.entries(made)}
    assert listed == names | {""}


def test_an_empty_directory_is_a_package(tmp_path: Path, store: Store, signer: Signer) -> None:
    (tmp_path / "empty").mkdir()
    made = make(tmp_path / "empty", store, signer)
    packaging.check_image(store.packages / made.file_name, made.image, subject="p")


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, keys: Path, signer: Signer) -> None:
    hashes = set()
    for number in (1, 2):
        tree = tmp_path / f"somewhere{number}"
        tree.mkdir()
        for name in ("b", "a") if number == 1 else ("a", "b"):
            (tree / name).write_bytes(name.encode() * 200_000)
            (tree / name).chmod(0o644)
            os.utime(tree / name, (number, number))
        time.sleep(1.1)  # sqfstar likes to put the time of day into the root directory
        hashes.add(make(tree, Store(tmp_path / f"s{number}").create(), signer).image.root_hash)
    assert len(hashes) == 1


def test_every_flipped_block_is_noticed(tmp_path: Path, store: Store, signer: Signer) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/file").write_bytes(os.urandom(20_000))
    made = make(tmp_path / "t", store, signer)
    image = store.packages / made.file_name
    good = image.read_bytes()
    for block in range(len(good) // 4096):
        bad = bytearray(good)
        bad[block * 4096 + 7] ^= 1
        image.write_bytes(bad)
        with pytest.raises(BootunionError):
            packaging.check_image(image, made.image, subject="p")


def test_importing_again_takes_what_is_there(
    store: Store, signer: Signer, keys: Path, debs: dict[str, Path]
) -> None:
    from bootunion.host import signing

    first = importer.import_debs([debs["sudo"]], store, signer, lambda _: None)
    known = importer.known_manifests(store, signing.read_trust(keys / "trust"))
    before = (store.packages / first[0].file_name).stat().st_mtime_ns
    assert importer.import_debs([debs["sudo"]], store, signer, lambda _: None, known=known) == first
    assert (store.packages / first[0].file_name).stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "-dash", "a b"])
def test_an_impossible_name_is_refused(
    tmp_path: Path, store: Store, signer: Signer, name: str
) -> None:
    with pytest.raises(BootunionError) as caught:
        packaging.write_package(store, [], Description(name, "1", "all"), None, signer)
    assert caught.value.code == "name-invalid"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, signer: Signer) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(os.urandom(3 << 20))
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    try:
        store = Store(small).create()
        with pytest.raises(BootunionError) as caught:
            make(tmp_path / "tree", store, signer)
        assert caught.value.code == "disk-full"
        assert not list(store.packages.iterdir())
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.parametrize(
    "text, words",
    [
        ("name: x\nsuites: [a]\npackges: []\n", "did you mean `packages`"),
        ("name: x\nsuites: [a]\n", "`packages` is missing"),
        ("name: X y\nsuites: [a]\npackages: []\n", "not the name of a list"),
        ("name: x\nname: y\n", "stands twice"),
        ("name: [", "is not YAML"),
        ("name: x\nsuites: a\npackages: []\n", "not a list"),
        ("name: x\nsuites: [a]\npackages: []\ntries: 101\n", "`tries` is above"),
        ("name: x\nsuites: [a]\npackages: []\nformat: ext4\n", "`format` is not one"),
        ("name: x\nsuites: [a]\npackages: []\ncorruption: heal\n", "`corruption` is not one"),
        ("name: x\nsuites: [a]\npackages: []\ngood-when: [a b]\n", "not a systemd unit"),
    ],
)
def test_a_wrong_system_yaml_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "system.yaml"
    path.write_text(text)
    with pytest.raises(BootunionError) as caught:
        systemyaml.read(path)
    assert caught.value.code == "system-invalid"
    assert words in caught.value.message
