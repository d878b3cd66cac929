"""What the agent adds to images of dracut and initramfs-tools, and how long it takes to start.

usage: sudo bench/initramfs.py [bookworm] [trixie] [sid]

Each suite's own tools run in a root of its own (qemu-tests/roots.py). Images are generic, with the
drivers of a virtual machine only, and compressed as the tool does it for zstd. Start-up is the
processor's time, user and system, of the closure alone in a chroot: the least of RUNS, so that a
busy machine changes little. Prints Markdown.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "qemu-tests"))

import roots  # noqa: E402
import scenario  # noqa: E402
import tiny  # noqa: E402

RUNS = 10
_DRACUT = f"dracut --force --zstd --no-hostonly --kver $KVER --drivers '{scenario.DRIVERS}'"
_PLAIN = "--omit 'systemd systemd-initrd dracut-systemd systemd-udevd"
_MKINITRAMFS = """sed -i 's/^MODULES=.*/MODULES=list/; s/^COMPRESS=.*/COMPRESS=zstd/' \
    /etc/initramfs-tools/initramfs.conf
printf '%s\\n' virtio_pci virtio_blk virtio_rng ext4 loop dm_mod dm_verity squashfs overlay \
    > /etc/initramfs-tools/modules"""
IMAGES = {
    "dracut, systemd": (
        f"{_DRACUT} --add bootunion /out/with", f"{_DRACUT} --omit bootunion /out/without",
    ),
    "dracut, plain": (
        f"{_DRACUT} --add bootunion {_PLAIN}' /out/with",
        f"{_DRACUT} {_PLAIN} bootunion' /out/without",
    ),
    "initramfs-tools": (
        f"{_MKINITRAMFS}\nmkinitramfs -o /out/with $KVER",
        "rm /usr/share/initramfs-tools/hooks/bootunion /usr/share/initramfs-tools/conf-hooks.d/*\n"
        "find /usr/share/initramfs-tools/scripts -name '*bootunion*' -delete\n"
        "mkinitramfs -o /out/without $KVER",
    ),
}  # fmt: skip
_AGENT = "import sys; sys.path.append('/usr/lib/bootunion/agent'); import bootunion.initrd.agent"
_SIGNED = "from cryptography.hazmat.primitives.asymmetric import ed25519"
STARTS = {
    "interpreter": "pass",
    "the agent's modules imported": _AGENT,
    "and cryptography's Ed25519": f"{_AGENT}; {_SIGNED}",
}


def main(suites: list[str]) -> None:
    """Print both tables."""
    good = tiny.make()
    tree, release = tiny.kernel_tree()
    modules = tree / "lib/modules" / release
    sizes, starts = [], []
    for suite in suites or ["bookworm", "trixie", "sid"]:
        root = roots.make(suite)
        about = root.versions("dracut-core", "initramfs-tools-core", "python3-cryptography")
        print(f"{suite}: {about}", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=scenario.BUILD) as work:
            laid = roots.lay_out(Path(work) / "laid", good.keys / "trust")
            boot = shutil.ignore_patterns("vmlinuz*", "System*")
            shutil.copytree(tree / "boot", laid / "boot", ignore=boot)
            for name, scripts in IMAGES.items():
                out = Path(work) / name
                roots.run(root, laid, modules, f"KVER={release}\n" + "\n".join(scripts), out)
                added, without = ((out / one).stat().st_size for one in ("with", "without"))
                sizes.append(f"| {suite} {name} | {added:,} | {without:,} | {added - without:,} |")
            for what, ms in start_up(root, laid, modules, Path(work)).items():
                starts.append(f"| {suite} {what} | {ms:.0f} ms |")
    print(f"{date.today()}, Linux {os.uname().release}, load {os.getloadavg()[0]:.0f}\n")
    print("\n".join(["| image | with | without | added |", "|---|---|---|---|", *sizes]))
    print("\n".join(["\n| start-up | processor |", "|---|---|", *starts]))


def start_up(root: roots.Root, laid: Path, modules: Path, work: Path) -> dict[str, float]:
    """The least processor time in ms of each start."""
    closure = work / "closure"
    script = """mkdir /out/root; python3 -c 'from pathlib import Path
from bootunion.host import closure
closure.install(closure.compute(Path("/usr/bin/python3")), Path("/out/root"))'"""
    roots.run(root, laid, modules, script, closure)
    found: dict[str, float] = {}
    for what, code in STARTS.items():
        argv = ["/usr/sbin/chroot", closure / "root", "/usr/bin/python3", "-I", "-S", "-E", "-B",
                "-c", code]  # fmt: skip
        found[what] = min(processor_ms(argv) for _ in range(RUNS))
    return found


def processor_ms(argv: list[str | Path]) -> float:
    """User and system time of a program in ms."""
    with subprocess.Popen(argv) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return (usage.ru_utime + usage.ru_stime) * 1000


if __name__ == "__main__":
    main(sys.argv[1:])
