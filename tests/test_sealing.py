"""Packages that are sealed with fs-verity: what the list says, what is planned, what is digested.

This host's kernel has no fs-verity: what a kernel does with a sealed file is tested in
qemu-tests/test_matrix.py and qemu-tests/test_sealed_boot.py.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import erofstools
import pytest
from test_index_model import erofs, indexed
from test_model import code_of

from bootunion import canonical, manifest, merge, package, plan, systemlist
from bootunion import operations as op
from bootunion.errors import BootunionError
from bootunion.host import build, checkroot_layers, composing, namespace, packaging, sealing
from bootunion.host.index import making
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.host.systemyaml import System
from bootunion.initrd import executor, fsverity, mount
from bootunion.initrd.store import Store as Reader
from bootunion.manifest import Contents, Manifest, Source
from bootunion.systemlist import Layer, SystemList


def sealed(seed: str) -> package.Image:
    return erofs(seed)._replace(fsverity=seed * 64)


def listed(*layers: Layer, **changes: object) -> SystemList:
    two = (Layer("a", "1", "all", sealed("a")), Layer("b", "1", "all", erofs("b")))
    made = SystemList("demo", 3, 1, 0, "amd64", "", layers or two, "volatile", "0" * 64)
    return made._replace(**changes)


# Sizes around a block, a level of the tree (128 blocks) and two levels.
@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 128 * 4096, 128 * 4096 + 1, 1 << 25])
def test_fsverity_agrees_with_our_digest(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(1, 252)) * (size // 251 + 1))
    os.truncate(path, size)
    argv = ["fsverity", "digest", "--hash-alg=sha256", "--block-size=4096", "--compact", path]
    theirs = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    assert sealing.digest(packaging.read_chunks(path), size) == theirs


def test_only_an_erofs_states_the_digest(tmp_path: Path) -> None:
    for kind, stated in ((package.EROFS, True), (package.SQUASHFS, False)):
        path = tmp_path / kind
        path.write_bytes(bytes(range(256)) * 100)
        made = packaging.append_tree(path, kind)
        assert bool(made.fsverity) == stated
        if stated:
            assert made.fsverity == sealing.digest(packaging.read_chunks(path), made.size)


def test_a_list_reads_back_and_has_a_schema_of_its_own() -> None:
    assert systemlist.decode(listed().encode(), subject="x") == listed()
    assert json.loads(listed().encode())["schema"] == 3
    with_index = indexed()._replace(index_layer=Layer("demo-index", "1", "amd64", sealed("f")))
    assert systemlist.decode(with_index.encode(), subject="x") == with_index
    assert json.loads(with_index.encode())["schema"] == 3


def test_ten_thousand_sealed_layers_fit_in_a_list_file() -> None:
    image = sealed("a")
    layers = tuple(
        Layer(f"p{number}", "1", "all", image._replace(root_hash=f"{number:064x}"))
        for number in range(systemlist.MAX_INDEXED)
    )
    assert len(indexed()._replace(layers=layers).encode()) * 4 / 3 < systemlist.MAX_SIZE


def test_another_schema_than_the_lists_is_refused() -> None:
    for system, schema in ((listed(), 1), (listed(), 2), (indexed(), 3), (indexed(), 1)):
        wrong = json.loads(system.encode()) | {"schema": schema}
        assert code_of(systemlist.decode, canonical.encode(wrong), subject="x") == "list-invalid"


@pytest.mark.parametrize("value", ["", "a" * 63, "A" * 64, 7, None])
def test_a_digest_that_is_none_is_refused(value: object) -> None:
    raw = json.loads(listed().encode())
    raw["layers"][0]["fsverity"] = value
    assert code_of(systemlist.decode, canonical.encode(raw), subject="x") == "list-invalid"


def test_a_squashfs_with_a_digest_is_refused() -> None:
    squashfs = Layer("a", "1", "all", sealed("a")._replace(format="squashfs"))
    system = listed(squashfs)
    assert code_of(systemlist.decode, system.encode(), subject="x") == "list-invalid"


def test_a_manifest_has_a_schema_of_its_own() -> None:
    made = Manifest("a", "1", "all", "", (), (), sealed("a"), Source("directory", "", "0" * 64),
                    Contents("0" * 64, 9))  # fmt: skip
    assert manifest.decode(made.encode(), subject="x") == made
    raw = json.loads(made.encode())
    assert raw["schema"] == 2
    wrong = canonical.encode(raw | {"schema": 1})
    assert code_of(manifest.decode, wrong, subject="x") == "manifest-invalid"


def test_an_older_description_of_the_same_image_agrees() -> None:
    assert sealed("a").agrees(erofs("a")) and erofs("a").agrees(sealed("a"))
    assert not sealed("a").agrees(sealed("a")._replace(fsverity="b" * 64))
    assert not sealed("a").agrees(erofs("b"))


def names(steps: tuple[op.Operation, ...], layer: int) -> list[type]:
    return [type(one) for one in steps if getattr(one, "layer", None) == layer]


def test_a_sealed_package_is_bound_before_its_devices_are_made() -> None:
    devices = [op.AttachLoop, op.CreateVerity, op.MountImage]
    steps = plan.for_boot(listed(), plan.Places(), by_file=True)
    assert names(steps, 0) == [op.BindFile, *devices]
    assert names(steps, 1) == devices
    (bound,) = (one for one in steps if isinstance(one, op.BindFile))
    assert (bound.digest, bound.size) == ("a" * 64, erofs("a").size)
    assert names(plan.for_boot(listed(), plan.Places()), 0) == devices


def test_fs_verity_knows_no_restart() -> None:
    """A list that wants the machine to restart gets dm-verity, which can."""
    steps = plan.for_boot(listed(corruption="restart"), plan.Places(), by_file=True)
    assert op.BindFile not in names(steps, 0)


@pytest.mark.parametrize(
    ("release", "can"),
    [("6.1.0-56-amd64", False), ("6.11.9", False), ("6.12.117+deb13-amd64", True), ("6.12", True),
     ("6.12-rc1", True), ("7.0.1-arch1", True), ("5.19.0", False), ("", False), ("x.y", False)],
)  # fmt: skip
def test_the_kernels_that_mount_files(release: str, can: bool) -> None:
    assert plan.mounts_files(release) is can


def test_a_file_that_is_not_sealed_is_left_to_dm_verity(tmp_path: Path) -> None:
    """Also one whose digest is another: nothing was bound, so nothing is passed over."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/x.erofs").write_bytes(bytes(8192))
    bind = op.BindFile(0, "x", "x.erofs", 8192, "a" * 64)
    before = len(os.listdir("/proc/self/fd"))
    with Reader(str(tmp_path)) as reader, executor.Executor(reader) as carrying_out:
        carrying_out.execute([bind])
        with pytest.raises(KeyError):
            carrying_out.execute([op.MountImage(0, "x", "erofs")])
    assert carrying_out.by_file == 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_bound_file_passes_its_devices_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a digest that a kernel would give; there is none here that gives it."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/x.erofs").write_bytes(bytes(8192))
    monkeypatch.setattr(fsverity, "measure", lambda _: "a" * 64)
    bound = op.BindFile(0, "x", "x.erofs", 8192, "a" * 64)
    devices = [op.AttachLoop(0, "x.erofs", 8192), op.CreateVerity(0, "x", 1, "b" * 64, "")]
    steps: list[executor.Step] = []
    before = len(os.listdir("/proc/self/fd"))
    with (
        pytest.raises(BootunionError) as refused,
        Reader(str(tmp_path)) as reader,
        executor.Executor(reader, steps.append) as carrying_out,
    ):
        carrying_out.execute([bound, *devices])
        assert [one.name for one in steps] == ["bind-file"]
        carrying_out.execute([op.MountImage(0, "x", "erofs")])
    assert refused.value.code == "verity-io"  # 8,192 zeros are no EROFS
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_the_kernel_cannot_do_leaves_no_optional_package_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/x.erofs").write_bytes(bytes(8192))
    monkeypatch.setattr(fsverity, "measure", lambda _: "a" * 64)

    def no_block_device(*_: object) -> int:
        raise OSError(15, "Block device required")

    monkeypatch.setattr(mount, "image", no_block_device)
    steps = [op.BindFile(0, "x", "x.erofs", 8192, "a" * 64, optional=True),
             op.MountImage(0, "x", "erofs", optional=True)]  # fmt: skip
    with (
        pytest.raises(BootunionError) as refused,
        Reader(str(tmp_path)) as reader,
        executor.Executor(reader) as carrying_out,
    ):
        carrying_out.execute(steps)
    assert refused.value.code == "file-mount-unsupported"


def test_sealing_where_the_file_system_cannot_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.erofs"
    path.write_bytes(bytes(4096))
    assert sealing.seal(path) is False
    assert sealing.sealed(path) == ""
    assert sealing.sealable(tmp_path) == [path]
    with pytest.raises(BootunionError) as refused:
        sealing.seal_all([path], lambda _: None)
    assert refused.value.code == "sealing-unsupported"


@pytest.mark.parametrize(
    ("image_format", "release", "fits"),
    [("erofs-zstd", "6.1.0-56-amd64", False), ("erofs-zstd", "6.12.117+deb13-amd64", True),
     ("erofs-zstd", "", True), ("erofs", "6.1.0-56-amd64", True)],
)  # fmt: skip
def test_zstd_is_composed_for_kernels_that_have_it(
    image_format: str, release: str, fits: bool
) -> None:
    system = System("demo", ("bookworm",), (), format=image_format)
    if fits:
        composing._check_kernel(system, release)
    else:
        with pytest.raises(BootunionError) as refused:
            composing._check_kernel(system, release)
        assert refused.value.code == "kernel-too-old"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signer: Signer) -> list[Manifest]:
    """Two packages as EROFS that an index can point into; their files are taken for sealed ones."""
    erofstools.put_first(monkeypatch, erofstools.directory())
    store = Store(tmp_path / "store").create()
    made = []
    for number in (0, 1):
        tree = tmp_path / f"tree-{number}"
        (tree / "usr").mkdir(parents=True)
        (tree / "usr/both").write_text(f"of {number}\n")
        (tree / f"usr/only-{number}").write_text(f"{number}\n" * (3000 + 9000 * number))
        made.append(
            packaging.write_package(
                store, build.members(tree), Description(f"p{number}", "1", "all"), None, signer,
                image_format=package.EROFS_UNCOMPRESSED,
            )
        )  # fmt: skip
    digests = {made.image.size: made.image.fsverity for made in made}
    monkeypatch.setattr(fsverity, "measure", lambda fd: digests.get(os.fstat(fd).st_size, ""))
    return made


def loops() -> set[str]:
    return {one.parent.name for one in Path("/sys/block").glob("loop*/loop")}


@pytest.mark.parametrize("index", [False, True], ids=["layers", "index"])
def test_files_are_united_without_devices(
    tmp_path: Path, packages: list[Manifest], signer: Signer, monkeypatch: pytest.MonkeyPatch,
    index: bool,
) -> None:  # fmt: skip
    """Real mounts of real files by this host's kernel; only the digest comes from elsewhere."""
    store = Store(tmp_path / "store")
    layers = tuple(Layer(one.name, "1", "all", one.image) for one in packages)
    system = SystemList("demo", 1, 1, 0, "amd64", "", layers, "none", "0" * 64)
    if index:
        merged = merge.merge(store.entries(one) for one in packages)
        system = system._replace(index_layer=making.make(store, system, merged, signer))
    assert all(one.image.fsverity for one in system.packages)
    digests = {one.image.size: one.image.fsverity for one in system.packages}
    assert len(digests) == len(system.packages)
    monkeypatch.setattr(fsverity, "measure", lambda fd: digests[os.fstat(fd).st_size])
    workspace, everything = str(tmp_path / "union"), range(len(system.packages))
    steps = plan.for_running(system, workspace, everything)

    def inside() -> tuple[list[str], int, list[str]]:
        before = loops()
        with Reader(str(store.path)) as reader, executor.Executor(reader) as carrying_out:
            carrying_out.execute(steps)
            root = Path(workspace) / "root/usr"
            texts = [(root / name).read_text() for name in ("both", "only-0", "only-1")]
            return texts, carrying_out.by_file, sorted(loops() - before)

    try:
        texts, by_file, new = namespace.in_namespace(inside)
    except BootunionError as error:
        if error.code == "file-mount-unsupported":
            pytest.skip("the temporary directory's file system is none to mount files from")
        raise
    assert texts == ["of 0\n", "0\n" * 3000, "1\n" * 12000]
    assert (by_file, new) == (len(everything), [])


def test_a_running_layer_is_a_sealed_file_only_with_the_lists_digest(
    tmp_path: Path, packages: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = Layer(packages[0].name, "1", "all", packages[0].image)
    assert checkroot_layers.is_sealed(tmp_path / "store", layer)
    without = layer._replace(image=layer.image._replace(fsverity=""))
    assert not checkroot_layers.is_sealed(tmp_path / "store", without)
    monkeypatch.setattr(fsverity, "measure", lambda _: "0" * 64)
    assert not checkroot_layers.is_sealed(tmp_path / "store", layer)
