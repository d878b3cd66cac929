"""The index: one EROFS of all names shows, mounted over the packages, what the plan says."""

import hashlib
import io
import os
import struct
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import erofstools
import pytest
from composing import BOOTUNION, needs_root, run
from importing import directory, member
from test_erofs import fitting

from bootunion import comparing, merge, plan, systemlist
from bootunion.errors import BootunionError
from bootunion.host import namespace, packaging, signing, verifying, walking
from bootunion.host.index import devices, disk, making, writing
from bootunion.host.members import Member
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.initrd import mount
from bootunion.manifest import Manifest
from bootunion.merge import Namespace
from bootunion.package import EROFS, EROFS_UNCOMPRESSED, SQUASHFS
from bootunion.systemlist import Layer, SystemList


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    erofstools.put_first(monkeypatch, erofstools.directory())


def package(
    store: Store, signer: Signer, name: str, members: Iterator[Member] | Sequence[Member],
    image_format: str = EROFS_UNCOMPRESSED, **more: Any,
) -> Manifest:  # fmt: skip
    about = Description(name, "1", "all")
    return packaging.write_package(
        store, members, about, None, signer, image_format=image_format, **more
    )


def united(store: Store, signer: Signer, made: Sequence[Manifest]) -> tuple[SystemList, Namespace]:
    """The list of these packages with its index, and their merged namespace."""
    merged = merge.merge(store.entries(one) for one in made)
    layers = tuple(Layer(one.name, one.version, one.architecture, one.image) for one in made)
    digest = merged.digest([one.image.root_hash for one in layers])
    system = SystemList("test", 1, 1, 0, "amd64", "", layers, "none", digest)
    return system._replace(index_layer=making.make(store, system, merged, signer)), merged


def seen(store: Store, system: SystemList, work: Path, look: Callable[[Path], Any]) -> Any:
    """What `look` says of the root, mounted as a boot does but for dm-verity."""
    steps = plan.for_namespace(system, str(work / "union"), upper="", verity=False)
    return namespace.in_namespace(
        lambda: namespace.in_union(store.path, steps, work / "union/root", look)
    )


def numbered(count: int) -> Iterator[Member]:
    """A directory of more names than a block holds, on both sides of "." and ".."."""
    yield directory("wide")
    for number in range(count):
        yield member(f"wide/{'+-.0a'[number % 5]}{number:04}", b"%d" % number)


def sizes() -> Iterator[Member]:
    yield directory("sizes")
    for size in (0, 1, 4095, 4096, 4097, 8191, 8192, 1_000_003):
        yield member(f"sizes/{size}", hashlib.sha256(b"%d" % size).digest() * (size // 32 + 1))


def over() -> Iterator[Member]:
    """What hides some of what `fitting` has, and some more."""
    yield member("large", b"another")
    yield directory("sizes")
    yield member("sizes/4096", b"short")
    yield directory("many")
    yield member("many/added", b"here")
    long = tarfile.TarInfo("long")
    long.type, long.linkname = tarfile.SYMTYPE, "/".join(["x" * 200] * 20)
    yield long, None
    yield directory("d")
    yield member("d/capable", b"the first name of a hard link is another package's")


@needs_root
def test_each_path_is_as_the_plan_says(tmp_path: Path, store: Store, signer: Signer) -> None:
    made = [
        package(store, signer, "over", over()),
        package(store, signer, "odd", fitting()),
        package(store, signer, "wide", numbered(3000)),
        package(store, signer, "sizes", sizes()),
        package(store, signer, "empty", []),
    ]
    system, merged = united(store, signer, made)

    def look(root: Path) -> Any:
        links: dict[int, set[str]] = {}
        for path, (_, entry) in merged.paths.items():
            if entry.type == "file":
                links.setdefault(os.lstat(root / path).st_ino, set()).add(path)
        counts = {path: os.lstat(root / path).st_nlink for path in merged.paths}
        names = sorted(os.listdir(root / "wide"))
        found = list(comparing.compare(merged.paths, walking.walk(root)))
        return found, links, counts, names, os.lstat(root).st_dev

    differences, links, counts, names, _ = seen(store, system, tmp_path, look)
    assert differences == []
    assert len(names) == 3000
    together = [group for group in links.values() if len(group) > 1]
    assert together, "nothing of it is a hard link"
    assert all(counts[path] == len(group) for group in together for path in group)
    subdirectories = [path for path, (_, one) in merged.paths.items()
                      if one.type == "directory" and path and "/" not in path]  # fmt: skip
    assert counts[""] == 2 + len(subdirectories)


@needs_root
def test_names_of_a_hidden_first_name_share_an_inode(
    tmp_path: Path, store: Store, signer: Signer
) -> None:
    def linked() -> Iterator[Member]:
        yield member("a", b"shared")
        for name in ("b", "c"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.LNKTYPE, "a"
            yield info, None

    top, below = (
        package(store, signer, "top", [member("a", b"own")]),
        package(store, signer, "below", linked()),
    )
    system, _ = united(store, signer, [top, below])

    def look(root: Path) -> Any:
        status = [os.lstat(root / name) for name in "abc"]
        texts = [(root / name).read_bytes() for name in "abc"]
        return [one.st_ino for one in status], [one.st_nlink for one in status], texts

    inodes, links, texts = seen(store, system, tmp_path, look)
    assert texts == [b"own", b"shared", b"shared"]
    assert inodes[1] == inodes[2] != inodes[0]
    assert links == [1, 2, 2]


@needs_root
def test_the_order_of_the_devices_is_what_files_are_read_by(
    tmp_path: Path, store: Store, signer: Signer
) -> None:
    """So the order must be the signed list's: turned round, verified bytes stand in wrong files."""
    made = [package(store, signer, name, [member(name, name.encode() * 4096)]) for name in "ab"]
    system, _ = united(store, signer, made)

    def look(root: Path) -> Any:
        return [(root / name).read_bytes()[:1] for name in "ab"]

    assert seen(store, system, tmp_path, look) == [b"a", b"b"]
    turned = system._replace(layers=system.layers[::-1])
    assert seen(store, turned, tmp_path, look) == [b"b", b"a"]


def test_the_same_namespace_makes_the_same_bytes(
    tmp_path: Path, store: Store, signer: Signer
) -> None:
    made = [package(store, signer, "odd", fitting()), package(store, signer, "wide", numbered(900))]
    first, merged = united(store, signer, made)
    backwards = dict(reversed(merged.paths.items()))
    images = [
        devices.read(store.packages / one.file_name, one.image, subject=one.name) for one in made
    ]
    written = io.BytesIO()
    writing.write(written, backwards, images)
    assert first.index_layer is not None
    image = (store.packages / first.index_layer.file_name).read_bytes()
    assert image.startswith(written.getvalue())


def test_an_index_is_published_fetched_and_missed_like_a_package(
    tmp_path: Path, store: Store, signer: Signer, keys: Path
) -> None:
    made = [package(store, signer, name, [member(name, b"x")]) for name in "ab"]
    system, _ = united(store, signer, made)
    envelope = Signer(keys / "list.key")(system.encode(), systemlist.PAYLOAD_TYPE)
    store.add_list(system.name, system.generation, envelope)
    site, fetched = str(tmp_path / "site"), tmp_path / "fetched"
    trust = ["--trust", str(keys / "trust")]
    here, there = ["--store", str(store.path), *trust], ["--store", str(fetched), *trust]
    assert run([str(BOOTUNION), "publish", site, *here]).status == 0
    fetch = [str(BOOTUNION), "fetch", "test", "--source", site, *there]
    assert "3 packages fetched" in run(fetch).out
    assert system.index_layer is not None
    image = fetched / "packages" / system.index_layer.file_name
    plan_of = [str(BOOTUNION), "plan", "test", *there]
    assert system.index_layer.image.root_hash[:12] in run(plan_of).out
    image.unlink()
    assert "file-missing" in run(plan_of).out.partition("united")[2].splitlines()[0]
    # Its manifest is still there.
    done = run(fetch)
    assert "1 packages fetched" in done.out, done.err
    assert image.exists()


@needs_root
def test_a_writable_upper_lies_on_it(tmp_path: Path, store: Store, signer: Signer) -> None:
    system, _ = united(store, signer, [package(store, signer, "a", [member("d/x", b"old")])])
    upper = tmp_path / "upper"
    upper.mkdir()
    steps = plan.for_namespace(system, str(tmp_path / "union"), upper=str(upper), verity=False)

    def look(root: Path) -> Any:
        (root / "d/x").write_bytes(b"new")
        (root / "d/y").write_bytes(b"added")
        return (root / "d/x").read_bytes(), sorted(os.listdir(root / "d"))

    found = namespace.in_namespace(
        lambda: namespace.in_union(store.path, steps, tmp_path / "union/root", look)
    )
    assert found == (b"new", ["x", "y"])


@needs_root
def test_a_container_lies_on_it(tmp_path: Path, store: Store, signer: Signer) -> None:
    """An overlay over the root's overlay: the stacking depth that the kernel allows."""
    system, _ = united(store, signer, [package(store, signer, "a", [member("d/x", b"old")])])
    for name in ("upper", "inner/upper", "inner/work", "inner/root"):
        (tmp_path / name).mkdir(parents=True)
    upper = str(tmp_path / "upper")
    steps = plan.for_namespace(system, str(tmp_path / "union"), upper=upper, verity=False)
    inner = tmp_path / "inner"

    def look(root: Path) -> Any:
        options = f"lowerdir={root},upperdir={inner}/upper,workdir={inner}/work"
        mount.mount("container", str(inner / "root"), "overlay", 0, options)
        (inner / "root/d/x").write_bytes(b"new")
        return (inner / "root/d/x").read_bytes(), (root / "d/x").read_bytes()

    found = namespace.in_namespace(
        lambda: namespace.in_union(store.path, steps, tmp_path / "union/root", look)
    )
    assert found == (b"new", b"old")


@needs_root
@pytest.mark.parametrize("image_format", [SQUASHFS, EROFS])
def test_layers_stay_apart_below_an_overlay_on_top(
    tmp_path: Path, store: Store, signer: Signer, image_format: str
) -> None:
    """ld.so takes two libraries of one device and inode number for one: with a system extension
    over /usr no program started any more."""
    made = [package(store, signer, name, [member(f"usr/lib/{name}", name.encode() * 9000)],
                    image_format) for name in "abc"]  # fmt: skip
    layers = tuple(Layer(one.name, one.version, one.architecture, one.image) for one in made)
    system = SystemList("test", 1, 1, 0, "amd64", "", layers, "none", "0" * 64)
    (tmp_path / "extension").mkdir()
    (tmp_path / "top").mkdir()

    def look(root: Path) -> Any:
        inner = [os.lstat(root / "usr/lib" / name) for name in "abc"]
        options = f"lowerdir={tmp_path}/extension:{root}/usr"
        mount.mount("extension", str(tmp_path / "top"), "overlay", mount.MS_RDONLY, options)
        outer = [os.lstat(tmp_path / "top/lib" / name) for name in "abc"]
        return [len({(one.st_dev, one.st_ino) for one in found}) for found in (inner, outer)]

    assert seen(store, system, tmp_path, look) == [3, 3]


@needs_root
def test_without_its_index_a_list_is_the_same_root(
    tmp_path: Path, store: Store, signer: Signer
) -> None:
    """What the agent does on a kernel that cannot mount the index."""
    made = [package(store, signer, "over", over()), package(store, signer, "odd", fitting())]
    system, merged = united(store, signer, made)

    def look(root: Path) -> Any:
        return list(comparing.compare(merged.paths, walking.walk(root)))

    assert seen(store, system._replace(index_layer=None), tmp_path, look) == []


@pytest.mark.parametrize("image_format", [SQUASHFS, EROFS])
def test_a_package_that_is_compressed_is_refused(
    store: Store, signer: Signer, image_format: str
) -> None:
    made = package(store, signer, "p", [member("x", b"x" * 9000)], image_format)
    with pytest.raises(BootunionError) as caught:
        united(store, signer, [made])
    assert caught.value.code == "index-impossible"
    assert caught.value.subject == made.stem
    assert [path.suffix for path in store.packages.glob("test-index*")] == []


@pytest.mark.parametrize("at", [0, 1024, 4096, -8192], ids=str)
def test_a_package_with_another_byte_is_refused(store: Store, signer: Signer, at: int) -> None:
    made = package(store, signer, "p", [member("x", b"x" * 9000)])
    path = store.packages / made.file_name
    data = bytearray(path.read_bytes())
    data[at % made.image.hash_offset] ^= 1
    path.write_bytes(data)
    with pytest.raises(BootunionError) as caught:
        united(store, signer, [made])
    assert caught.value.code == "root-hash-mismatch"


def test_verify_makes_the_index_again_and_refuses_another(
    store: Store, signer: Signer, keys: Path
) -> None:
    made = [package(store, signer, "a", [member("x", b"1")]),
            package(store, signer, "b", [member("x", b"2"), member("y", b"3")])]  # fmt: skip
    trusted = signing.read_trust(keys / "trust")
    system, _ = united(store, signer, made)
    verdicts = verifying.verify(store, trusted, system, lambda _: None)
    assert [one.error for one in verdicts] == [None, None, None]
    # An index of the two the other way round: each byte is signed, and x is another file.
    turned, _ = united(store, signer, made[::-1])
    wrong = system._replace(index_layer=turned.index_layer)
    (error,) = (one.error for one in verifying.verify(store, trusted, wrong, lambda _: None)
                if one.error)  # fmt: skip
    assert error.code == "index-differs"


def test_a_temporary_index_leaves_nothing(store: Store, signer: Signer) -> None:
    made = package(store, signer, "a", [member("x", b"1")])
    system, merged = united(store, signer, [made])
    before = sorted(path.name for path in store.packages.iterdir())
    with making.temporary(store, system, merged, signer) as indexed:
        assert indexed.index_layer == system.index_layer
    assert sorted(path.name for path in store.packages.iterdir()) == before
    assert system.index_layer is not None
    store.remove(system.index_layer)
    with making.temporary(store, system, merged, signer):
        assert len(list(store.packages.glob("test-index*"))) == 3
    assert list(store.packages.glob("test-index*")) == []


def test_a_file_of_several_gibibytes_has_a_chunk_for_each() -> None:
    size = (5 << 30) + 1
    assert disk.chunk_count(size) == 6
    assert disk.chunk_format(size) == 0x20 | 30 - 12
    found = list(struct.iter_unpack("<HHI", disk.chunks(size, 7, 100)))
    assert found == [(0, 7, 100 + number * (1 << 18)) for number in range(6)]
    assert [disk.chunk_count(one) for one in (0, 1, 4096, 4097, 1 << 30)] == [0, 1, 1, 1, 1]
    assert [disk.chunk_bits(one) for one in (1, 4096, 4097, 1 << 30)] == [12, 12, 13, 30]


def test_an_image_that_is_damaged_is_refused_whatever_it_says(
    tmp_path: Path, store: Store, signer: Signer
) -> None:
    """The reader looks at verified images alone, and yet goes astray on none."""
    made = package(store, signer, "p", fitting())
    good = (store.packages / made.file_name).read_bytes()[: made.image.hash_offset]
    place = tmp_path / "image"
    for at in range(1024, min(len(good), 40_000), 37):
        place.write_bytes(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        image = packaging.append_tree(place, EROFS)
        try:
            found = devices.read(place, image, subject="p")
        except BootunionError as error:
            assert error.code == "index-impossible"
        else:
            assert all(0 <= first < image.data_blocks for first in found.first.values())


def test_the_lists_limit_is_below_what_erofs_takes() -> None:
    # The root inode's number has 16 bits, and lies behind the devices' slots.
    assert systemlist.MAX_INDEXED < 1 << 16
