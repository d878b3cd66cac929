"""Lays out bootunion itself as a directory that `bootunion build` or compose can package.

Modes are set here, so that the umask of a checkout does not become part of a package's name.
"""

import os
import shutil
import sys
from pathlib import Path

from bootunion.host import hooks

_SCRIPT = "#!/usr/bin/python3\nfrom bootunion.host.cli import main\n\nmain()\n"


def lay_out(source: Path, target: Path) -> None:
    """Write the tree of the package `bootunion` at `target`."""
    shutil.rmtree(target, ignore_errors=True)
    places = {
        source / "bootunion": target / "usr/lib/python3/dist-packages/bootunion",
        source / "dracut-module": target / "usr/lib/dracut/modules.d",
    }
    for origin, place in places.items():
        shutil.copytree(origin, place, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    script = target / "usr/bin/bootunion"
    script.parent.mkdir(parents=True)
    script.write_text(_SCRIPT, encoding="utf-8")
    for path in [target, *target.rglob("*")]:
        executable = path.is_dir() or path.suffix == ".sh" or path == script
        path.chmod(0o755 if executable else 0o644)
    before = os.umask(0o022)
    hooks.install(target, hooks.collect(("systemd", "login"), "/usr"), record=False)
    os.umask(before)


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]), Path(sys.argv[2]))
