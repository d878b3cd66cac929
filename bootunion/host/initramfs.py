"""Makes a list's initramfs with the list's own dracut, in the list's own root."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from bootunion import plan, systemlist
from bootunion.errors import BootunionError
from bootunion.systemlist import SystemList

from . import namespace, packaging
from .sandbox import Sandbox
from .store import Store

_IMAGE = "/tmp/initramfs.img"  # noqa: S108 - in the sandbox's own tmpfs
_TRUST = "/etc/bootunion/trust"


class Wanted(NamedTuple):
    """Which initramfs to make. `kernel_output` None leaves the kernel alone."""

    output: Path
    trust_file: Path
    kernel_output: Path | None = None
    plain: bool = False
    agent: bool = True
    drivers: str = ""


def make(store: Store, system: SystemList, wanted: Wanted) -> None:
    """Write the image. Raises BootunionError; the output is then as it was."""
    namespace.require_root("making an initramfs")
    if not system.kernel:
        text = "the list has no kernel, so there is nothing to make an initramfs for"
        raise BootunionError("kernel-mismatch", text, subject=system.name)
    for layer in system.packages:
        image = store.packages / layer.file_name
        packaging.check_image(image, layer.image, subject=layer.stem)
    with store.workspace() as directory:
        where = directory.resolve()
        upper = where / "upper"
        upper.mkdir()
        steps = plan.for_namespace(
            system._replace(upper=systemlist.UPPER_VOLATILE), str(where / "union"),
            upper=str(upper), verity=False,
        )  # fmt: skip

        def dracut(root: Path) -> None:
            box = Sandbox(root, {"SOURCE_DATE_EPOCH": str(system.created)})
            box.prepare()
            if wanted.agent:
                trust = root / _TRUST.lstrip("/")
                trust.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(wanted.trust_file, trust / wanted.trust_file.name)
            box.run(command(system.kernel, wanted), what="making the initramfs")
            shutil.copyfile(root / _IMAGE.lstrip("/"), where / "image")
            shutil.copyfile(root / "boot" / f"vmlinuz-{system.kernel}", where / "kernel")

        def work() -> None:
            namespace.in_union(store.path, steps, where / "union/root", dracut)

        namespace.in_namespace(work, network=False)
        for made, target in (("image", wanted.output), ("kernel", wanted.kernel_output)):
            if target is not None:
                aside = target.with_name(f".{target.name}.new")
                shutil.copyfile(where / made, aside)
                aside.rename(target)


def command(kernel: str, wanted: Wanted) -> list[str]:
    """dracut's command line."""
    argv = ["dracut", "--force", "--no-hostonly", "--reproducible", "--zstd", "--kver", kernel]
    argv += ["--add" if wanted.agent else "--omit", "bootunion"]
    if wanted.plain:
        argv += ["--omit", "systemd systemd-initrd dracut-systemd systemd-udevd"]
    if wanted.drivers:
        argv += ["--drivers", wanted.drivers]
    return [*argv, _IMAGE]
