"""Whole boots of a list with an index: what boots, what falls back, what stands on top."""

import os
import re
import sys
from pathlib import Path

import machine
import pytest
import scenario
import tiny

from bootunion import package
from bootunion.host import packaging
from bootunion.host.index import disk as erofs
from bootunion.systemlist import SystemList

sys.path.insert(0, str(scenario.TOP / "scripts"))
import erofs_utils

pytestmark = pytest.mark.qemu
SUCCESS = machine.SUCCESS << 1 | 1


@pytest.fixture(scope="module")
def good() -> tiny.Tiny:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{erofs_utils.tools(scenario.CACHE)}:{os.environ['PATH']}")
        return tiny.make(package.EROFS_UNCOMPRESSED)


def booted(good: tiny.Tiny, store: Path, work: Path, name: str, words: str = "") -> str:
    """A boot that ends with the guest's success; its console."""
    disk = machine.store_disk(store, work / "disk.img")
    log = scenario.BUILD / f"index-{name}.console"
    cmdline = f"bootunion=tiny quiet tiny.report bootunion.on-failure=poweroff {words}"
    with machine.boot(good.kernel, good.initrd, cmdline, disk, log, memory=512) as running:
        status = running.end(180)
        said = str(running.console)
    assert status == SUCCESS, said[-2000:]
    return said


def test_a_list_boots_by_its_index(good: tiny.Tiny, tmp_path: Path) -> None:
    said = booted(good, good.store, tmp_path, "good", "tiny.good")
    assert "BOOTED generation=2 extra=here" in said
    assert 'UNION "union": "index"' in said
    assert "MARKED" in said and "WARNING" not in said
    assert re.search(r"^KEPT .*\busr\b", said, re.MULTILINE)  # for the roots of processes


def unusable(good: tiny.Tiny, store: Path) -> SystemList:
    """The list with a signed index that this kernel cannot mount: it has a feature of tomorrow."""
    system = tiny.read_list(good, 2)
    assert system.index_layer is not None
    before = store / "packages" / system.index_layer.file_name
    data = bytearray(before.read_bytes()[: system.index_layer.image.hash_offset])
    data[erofs.SUPERBLOCK_AT + 80 + 3] |= 0x40  # feature_incompat
    place = store / "packages" / "new"
    place.write_bytes(data)
    index = system.index_layer._replace(image=packaging.append_tree(place, package.EROFS))
    place.rename(store / "packages" / index.file_name)
    return system._replace(index_layer=index)


def test_a_kernel_that_cannot_mount_the_index_unites_the_layers(
    good: tiny.Tiny, tmp_path: Path
) -> None:
    store = tiny.copy_store(good, tmp_path / "store")
    tiny.write_list(good, store, unusable(good, store))
    said = booted(good, store, tmp_path, "unusable")
    assert "WARNING [index-unsupported]" in said
    assert "BOOTED generation=2 extra=here" in said
    assert 'UNION "union": "layers"' in said


def test_a_damaged_index_falls_back_to_the_generation_before(
    good: tiny.Tiny, tmp_path: Path
) -> None:
    store = tiny.copy_store(good, tmp_path / "store")
    index = tiny.read_list(good, 2).index_layer
    assert index is not None
    path = store / "packages" / index.file_name
    data = bytearray(path.read_bytes())
    data[erofs.SUPERBLOCK_AT] ^= 1
    path.unlink()
    path.write_bytes(data)
    said = booted(good, store, tmp_path, "damaged")
    assert re.search(r"^bootunion: REFUSED \[verity-io\]", said, re.MULTILINE)
    assert "BOOTED generation=1" in said and "BOOTED generation=2" not in said
    assert 'UNION "union": "index"' in said
