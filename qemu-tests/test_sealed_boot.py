"""Whole boots of packages that are sealed with fs-verity: none of them has a block device."""

import os
import sys
from pathlib import Path

import machine
import pytest
import roots
import scenario
import tiny

from bootunion import package

sys.path.insert(0, str(scenario.TOP / "scripts"))
import erofs_utils

pytestmark = pytest.mark.qemu
SUCCESS = machine.SUCCESS << 1 | 1
WORDS = "bootunion=tiny quiet tiny.report tiny.container bootunion.on-failure=poweroff"


def booted(image_format: str, work: Path, words: str) -> str:
    """A boot with Debian 13's kernel that ends with the guest's success; its console."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{erofs_utils.tools(scenario.CACHE)}:{os.environ['PATH']}")
        good = tiny.make(image_format, roots.kernel("trixie"))
    disk = machine.store_disk(good.store, work / "disk.img", sealable=True)
    log = scenario.BUILD / f"{work.name}.console"
    with machine.boot(good.kernel, good.initrd, f"{WORDS} {words}", disk, log, memory=512,
                      processors=1, qemu=roots.newer_qemu()) as running:  # fmt: skip
        status = running.end(180)
        said = str(running.console)
    assert status == SUCCESS, said[-2000:]
    assert "BOOTED generation=2 extra=here" in said and "WARNING" not in said
    # A container's overlay stands on the root: the stacking depth allows it.
    assert "CONTAINER generation=2" in said
    return said


def test_sealed_packages_are_layers_without_devices(tmp_path: Path) -> None:
    said = booted(package.EROFS, tmp_path, "tiny.seal")
    assert "SEALED 5 of 5" in said
    assert 'FILES "by_file": 4' in said and "DEVICES loop=0 dm=0" in said
    assert 'UNION "union": "layers"' in said


def test_an_index_reads_sealed_packages_without_devices(tmp_path: Path) -> None:
    said = booted(package.EROFS_UNCOMPRESSED, tmp_path, "tiny.seal")
    assert 'FILES "by_file": 5' in said and "DEVICES loop=0 dm=0" in said
    assert 'UNION "union": "index"' in said


def test_packages_that_are_not_sealed_have_devices(tmp_path: Path) -> None:
    said = booted(package.EROFS, tmp_path, "")
    assert 'FILES "by_file": 0' in said and "DEVICES loop=4 dm=4" in said
