"""Every generator, flavour, kernel and way to name the store's device, one boot each.

`make matrix` runs it all; `generator_matrix.py WORD …` the cells whose names have all the words,
and `--again` only those that are not as they must be or were not run. What each cell ended with is
kept in build/generators.json, and its table in build/generators.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple, TypeVar

import generators
import hostonly
import machine
import roots
import scenario
import stores
import tiny

_UNSIGNED = r"REFUSED \[signature-invalid\]"
_GONE = "root=LABEL=elsewhere bootunion=tiny rd.retry=4 rd.timeout=8"
_OWN_DEVICE = "bootunion.store=LABEL=pkgs bootunion=tiny"
_DRACUT_ROOTS = ("bookworm", "trixie", "sid")
# QEMU 7.2's emulation breaks newer kernels at random, so these boot in Debian 13's; one that does
# not come up is tried again, and the table says how often.
_TRIES_OF_NEWER_KERNELS = 3
_WRONG = "WRONG:"
_Result = TypeVar("_Result")


class Cell(NamedTuple):
    """One boot: `work` gives what the table says of it, given a directory to work in."""

    name: str
    work: Callable[[Path], str]


def cells(good: tiny.Tiny) -> Iterator[Cell]:
    """All of them, those first that the others build on."""
    for name in ("mkinitcpio busybox", "mkinitcpio systemd", "initramfs-tools"):
        yield from _hard(good, "bookworm", name)
    for suite in _DRACUT_ROOTS:
        for flavour in ("systemd", "plain"):
            for mode in ("generic", "hostonly"):
                yield from _plain(good, suite, f"dracut {mode} {flavour}")
    yield from _sources(good)
    for suite in ("trixie", "sid"):
        for flavour in ("systemd", "plain"):
            yield _newer_kernel(good, suite, f"dracut generic {flavour}")
        yield from _plain(good, suite, "initramfs-tools")
    yield _kept_overlay(good)
    for suite in ("bookworm", "trixie"):
        yield _hostonly(good, suite)


def _plain(good: tiny.Tiny, suite: str, name: str) -> Iterator[Cell]:
    """A good signature and a bad one."""

    def boots(work: Path) -> str:
        root = roots.make(suite)
        initrd = generators.make(good, root, name, work)
        on = generators.disk(good, work)
        booted = generators.good_boot(good.kernel, initrd, on, f"{suite} {name} good")
        return f"boots; kernel {booted.kernel}, layers by {booted.layers_by}"

    def stops(work: Path) -> str:
        initrd = generators.make(good, roots.make(suite), name, work)
        on = generators.unsigned_disk(good, work)
        generators.refused_boot(good.kernel, initrd, on, f"{suite} {name} unsigned", says=_UNSIGNED)
        return "refused, no root, no shell"

    yield Cell(f"{suite} {name}: good", boots)
    yield Cell(f"{suite} {name}: bad signature", stops)


def _hard(good: tiny.Tiny, suite: str, name: str) -> Iterator[Cell]:
    """Also an agent that is killed, a device that does not come, a store on its own device."""
    yield from _plain(good, suite, name)

    def killed(work: Path) -> str:
        initrd = generators.make(good, roots.make(suite), name, work)
        generators.killed_boot(good.kernel, initrd, good, work, f"{suite} {name} killed")
        return "stops over a store that is itself a root"

    def gone(work: Path) -> str:
        initrd = generators.make(good, roots.make(suite), name, work)
        on = generators.disk(good, work)
        says = r"STOPPED \[store-missing\]"
        log = f"{suite} {name} gone"
        generators.refused_boot(good.kernel, initrd, on, log, says=says, cmdline=_GONE)
        return "stops without a prompt"

    def own_device(work: Path) -> str:
        initrd = generators.make(good, roots.make(suite), name, work)
        on = generators.disk(good, work)
        log = f"{suite} {name} own device"
        generators.good_boot(good.kernel, initrd, on, log, cmdline=_OWN_DEVICE)
        return "boots"

    yield Cell(f"{suite} {name}: agent killed", killed)
    yield Cell(f"{suite} {name}: device does not come", gone)
    yield Cell(f"{suite} {name}: bootunion.store=", own_device)


def _newer_kernel(good: tiny.Tiny, suite: str, name: str) -> Cell:
    """The suite's own newest kernel."""

    def boots(work: Path) -> str:
        tree, release = roots.kernel(suite)
        initrd = generators.make(good, roots.make(suite), name, work, (tree, release))
        on = generators.disk(good, work, release)
        vmlinuz, qemu = tree / f"boot/vmlinuz-{release}", roots.newer_qemu()
        booted, tried = _patiently(
            lambda: generators.good_boot(
                vmlinuz, initrd, on, f"{suite} {name} own kernel", qemu=qemu
            )
        )
        by = f"boots; kernel {booted.kernel}, layers by {booted.layers_by}"
        return f"{by}, {tried}, {qemu.name}"

    return Cell(f"{suite} {name}: own kernel", boots)


def _patiently(boot: Callable[[], _Result]) -> tuple[_Result, str]:
    """A boot of a newer kernel, and which try it was."""
    for tried in range(1, _TRIES_OF_NEWER_KERNELS):
        with contextlib.suppress(AssertionError, machine.MachineError):
            return boot(), f"boot {tried} of at most {_TRIES_OF_NEWER_KERNELS}"
    return boot(), f"boot {_TRIES_OF_NEWER_KERNELS} of at most {_TRIES_OF_NEWER_KERNELS}"


def _hostonly(good: tiny.Tiny, suite: str) -> Cell:
    """A hostonly image from a machine that runs from a list: it boots, and refuses."""

    def boots(work: Path) -> str:
        kernel = roots.kernel(suite)
        tree, release = kernel
        qemu = machine.QEMU if suite == "bookworm" else roots.newer_qemu()
        builder = hostonly.builder(good, suite, work, kernel)
        made, tried = _patiently(lambda: hostonly.make(builder, work, qemu))
        contained = hostonly.kernel_modules(roots.make(suite), made.image, work)
        vmlinuz, log = tree / f"boot/vmlinuz-{release}", f"{suite} hostonly"
        on = generators.disk(good, work, release)
        booted, _ = _patiently(
            lambda: generators.good_boot(vmlinuz, made.image, on, f"{log} good", qemu=qemu)
        )
        on = generators.unsigned_disk(good, work)
        generators.refused_boot(
            vmlinuz, made.image, on, f"{log} unsigned", says=_UNSIGNED, qemu=qemu
        )
        return (
            f"boots, refuses a bad signature; kernel {booted.kernel}, {made.loaded} modules "
            f"loaded there, {len(contained)} in the image; made on {tried}"
        )

    return Cell(f"{suite} dracut hostonly, made on a machine that runs from a list", boots)


def _kept_overlay(good: tiny.Tiny) -> Cell:
    """What dracut 059 keeps of the root of a machine that runs from a list, in a plain image."""

    def boots(work: Path) -> str:
        initrd = generators.make(good, roots.make("bookworm"), "dracut generic plain", work)
        kept = work / "kept/etc/cmdline.d/95root-dev.conf"
        kept.parent.mkdir(parents=True)
        kept.write_text(" rootfstype=overlay rootflags=rw,relatime,lowerdir=0:1\n")
        extra = tiny.archive(work / "kept", work / "kept.img")
        both = tiny.appended(initrd, extra, work / "with-kept.img")
        on = generators.disk(good, work)
        generators.good_boot(good.kernel, both, on, "bookworm plain kept overlay")
        return "boots"

    return Cell("bookworm dracut plain: it keeps an overlay's options", boots)


def _sources(good: tiny.Tiny) -> Iterator[Cell]:
    """What `root=` can name, with dracut 059 and systemd."""

    def cell(what: str, make: Callable[[Path], Path], cmdline: str) -> Cell:
        def boots(work: Path) -> str:
            on = make(work)
            initrd = generators.make(good, roots.make("bookworm"), "dracut sources", work)
            if what == "LUKS":
                initrd = tiny.appended(initrd, _key_archive(work), work / "with-key.img")
            words = f"{cmdline} bootunion={tiny.LIST}"
            generators.good_boot(good.kernel, initrd, on, f"source {what}", cmdline=words)
            return "boots"

        return Cell(f"root= by {what}", boots)

    def ext4(work: Path) -> Path:
        return generators.disk(good, work)

    tree, release = tiny.kernel_tree()
    modules = tree / "lib/modules" / release

    def partitioned(work: Path) -> Path:
        return stores.partitioned(ext4(work), work / "gpt.img")

    def encrypted(work: Path) -> Path:
        return stores.encrypted(ext4(work), work / "luks.img", work / "key")

    def lvm(work: Path) -> Path:
        root = roots.make("bookworm")
        return stores.on_lvm(root, modules, ext4(work), work / "lvm.img", work)

    def btrfs(work: Path) -> Path:
        root = roots.make("bookworm")
        return stores.on_btrfs(root, modules, good.store, work / "btrfs.img", work)

    yield cell("LABEL", partitioned, "root=LABEL=pkgs")
    yield cell("UUID", partitioned, f"root=UUID={stores.UUID}")
    yield cell("PARTUUID", partitioned, f"root=PARTUUID={stores.PARTUUID}")
    luks = f"rd.luks.name={stores.LUKS_UUID}=store rd.luks.key={stores.LUKS_UUID}={stores.KEY_FILE}"
    yield cell("LUKS", encrypted, f"root=/dev/mapper/store {luks}")
    yield cell("LVM", lvm, "root=/dev/store/pkgs rd.lvm.lv=store/pkgs")
    yield cell("btrfs subvolume", btrfs, "root=LABEL=pkgs rootflags=subvol=store")

    def late(work: Path) -> str:
        initrd = generators.make(good, roots.make("bookworm"), "dracut sources", work)
        on = generators.disk(good, work)
        return generators.late_boot(good.kernel, initrd, on, work, cmdline=_OWN_DEVICE)

    yield Cell("bootunion.store= on a disk plugged in 5 s after boot", late)


def _key_archive(work: Path) -> Path:
    place = work / "key-tree" / stores.KEY_FILE.lstrip("/")
    place.parent.mkdir(parents=True)
    shutil.copy(work / "key", place)
    return tiny.archive(work / "key-tree", work / "key.img")


def table(results: dict[str, dict[str, str]]) -> str:
    """The results in Markdown."""
    wrong = sum(one["result"].startswith(_WRONG) for one in results.values())
    lines = [f"{len(results)} cells, {wrong} not as they must be.", "",
             "| cell | result | s | on |", "|---|---|---|---|"]  # fmt: skip
    lines += [
        f"| {name} | {one['result']} | {one['seconds']} | {one['date']} |"
        for name, one in results.items()
    ]
    for suite in _DRACUT_ROOTS:
        names = ("dracut-core", "initramfs-tools-core", "systemd", "python3-minimal",
                 "python3-cryptography")  # fmt: skip
        lines.append(f"\n{suite}: {roots.make(suite).versions(*names)}.")
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True,
                          check=True).stdout.splitlines()[0]  # fmt: skip
    return "\n".join([*lines, f"\n{qemu}, {machine.accelerator(tiny.make().kernel)}.", ""])


def arguments(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="the cells with all of these")
    parser.add_argument(
        "--again", action="store_true", help="only what went wrong or has no result yet"
    )
    return parser.parse_args(words)


def chosen(
    everything: list[Cell], asked: argparse.Namespace, results: dict[str, dict[str, str]]
) -> list[Cell]:
    """The cells to run."""
    named = [cell for cell in everything if all(word in cell.name for word in asked.words)]
    if not asked.again:
        return named
    right = {name for name, one in results.items() if not one["result"].startswith(_WRONG)}
    return [cell for cell in named if cell.name not in right]


def run(cell: Cell) -> dict[str, str]:
    """One cell's result."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=scenario.BUILD) as work:
        try:
            result = cell.work(Path(work))
        except (AssertionError, machine.MachineError, subprocess.CalledProcessError) as error:
            traceback.print_exc()
            result = f"{_WRONG} {type(error).__name__}"
    seconds = f"{time.monotonic() - start:.0f}"
    print(f"{cell.name}: {result} ({seconds} s, load {os.getloadavg()[0]:.0f})", flush=True)
    return {"result": result, "seconds": seconds, "date": date.today().isoformat()}


def main(words: list[str]) -> int:
    """Run the cells that are asked for; 1 when one is not as it must be."""
    asked = arguments(words)
    good = tiny.make()
    kept = scenario.BUILD / "generators.json"
    scenario.BUILD.mkdir(exist_ok=True)
    everything = list(cells(good))
    # A whole run forgets the results of the last one.
    older = kept.exists() and (asked.words or asked.again)
    results: dict[str, dict[str, str]] = json.loads(kept.read_text()) if older else {}
    wrong = 0
    for cell in chosen(everything, asked, results):
        results[cell.name] = run(cell)
        wrong += results[cell.name]["result"].startswith(_WRONG)
        order = [one.name for one in everything if one.name in results]
        results = {name: results[name] for name in order}
        kept.write_text(json.dumps(results, indent=1))
    text = table(results)
    (scenario.BUILD / "generators.md").write_text(text)
    print(text)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
