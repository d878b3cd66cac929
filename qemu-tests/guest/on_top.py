"""Runs in the booted Debian: what other software puts on top of the root still mounts there.

A container engine's overlay with the root as its layer; a system extension, as a directory and as a
squashfs image.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

_CONTAINER = """
set -e
mount -t tmpfs none {work}; mkdir {work}/upper {work}/work {work}/root
mount -t overlay overlay -o lowerdir=/,upperdir={work}/upper,workdir={work}/work {work}/root
mount --bind /proc {work}/root/proc || true
chroot {work}/root /bin/sh -c 'echo inside > /etc/container; rm /usr/bin/less; dpkg-query -W -f "\\${{Version}}" libc6'
test ! -e {work}/root/usr/bin/less; test -e /usr/bin/less; test ! -e /etc/container
"""  # noqa: E501


def words(*argv: str) -> str:
    done = subprocess.run(
        argv, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else f"{done.returncode}: {done.stdout}"


def container() -> bool:
    """Whether a container over the root works, and leaves the root as it was."""
    work = "/run/on-top"
    Path(work).mkdir(exist_ok=True)
    said = words("unshare", "--mount", "/bin/sh", "-c", _CONTAINER.format(work=work))
    print(said)
    return said.splitlines()[-1:] == [words("dpkg-query", "-W", "-f", "${Version}", "libc6")]


def extension(image: bool) -> str:
    """What an extension gives while it is merged, "" when it does not go away again."""
    place = Path("/run/extensions/on-top")
    release = place / "usr/lib/extension-release.d/extension-release.on-top"
    release.parent.mkdir(parents=True)
    release.write_text("ID=_any\n")
    (place / "usr/share").mkdir()
    (place / "usr/share/on-top").write_text("extended\n")
    if image:
        raw = place.with_suffix(".raw")
        words("mksquashfs", str(place), str(raw), "-quiet")
        subprocess.run(["rm", "-r", place], check=True)
    print(words("systemd-sysext", "merge"))
    found = Path("/usr/share/on-top")
    said = found.read_text().strip() if found.exists() else "nothing"
    ls = words("ls", "/usr/bin/dpkg")
    print(words("systemd-sysext", "unmerge"))
    subprocess.run(["rm", "-r", "/run/extensions"], check=True)
    return said if ls == "/usr/bin/dpkg" and not found.exists() else ""


def main() -> None:
    found: dict[str, object] = {"container": container()}
    for name, image in (("extension", False), ("extension image", True)):
        try:
            found[name] = extension(image)
        except OSError as error:
            found[name] = str(error)
    print("BOOTUNION-" + "ON-TOP " + json.dumps(found))
    sys.stdout.flush()
    os._exit(0)


main()
