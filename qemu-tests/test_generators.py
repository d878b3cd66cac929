"""A few quick boots of what other generators than dracut make; the matrix has them all."""

import os
from pathlib import Path

import generators
import pytest
import roots
import tiny

pytestmark = pytest.mark.qemu


@pytest.fixture(scope="module")
def good() -> tiny.Tiny:
    if os.geteuid() != 0:
        pytest.skip("making an image needs root")
    return tiny.make()


@pytest.mark.parametrize("flavour", ["busybox", "systemd"])
def test_mkinitcpio_boots_a_list_and_stops_without_one(
    good: tiny.Tiny, tmp_path: Path, flavour: str
) -> None:
    name = f"mkinitcpio double {flavour}"
    initrd = generators.make(good, roots.HOST, name, tmp_path)
    disk = generators.disk(good, tmp_path)
    generators.good_boot(good.kernel, initrd, disk, f"{name} good")
    disk = generators.unsigned_disk(good, tmp_path)
    says = r"REFUSED \[signature-invalid\]"
    generators.refused_boot(good.kernel, initrd, disk, f"{name} unsigned", says=says)
    generators.killed_boot(good.kernel, initrd, good, tmp_path, f"{name} killed")
