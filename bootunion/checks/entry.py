"""What a root must have to be entered: an init, an os-release, mount points, its units."""

from __future__ import annotations

from collections.abc import Iterator

from ..contents import DIRECTORY
from ..plan import STORE_MOUNT_POINT
from .finding import Finding, found
from .root import Root

INIT = "sbin/init"
# systemd's switch-root looks for them in this order (src/basic/os-util.c, path_is_os_tree).
_OS_RELEASE = ("etc/os-release", "usr/lib/os-release")
_MOUNT_POINTS = ("proc", "sys", "dev", "run", STORE_MOUNT_POINT.lstrip("/"))
# Where systemd looks for units (systemd.unit(5)), without what is made while it runs.
_UNITS = ("etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system",
          "lib/systemd/system")  # fmt: skip
# These are made by generators, from fstab and others.
_GENERATED_UNITS = (".mount",)


def check(root: Root) -> Iterator[Finding]:
    """Findings about the way into the root."""
    yield from _init(root)
    yield from _os_release(root)
    yield from _mount_points(root)
    yield from _units(root)


def _init(root: Root) -> Iterator[Finding]:
    if root.program(INIT) is not None:
        return
    trail = root.follow(INIT)
    package = root.package(INIT)
    if trail.found is not None:
        package = root.package(trail.found)
        text = f"{package} has /{trail.found} for /{INIT}, which is no executable file"
    elif package:
        text = f"{package} has /{INIT}, which leads to /{trail.missing}, which no package has"
    else:
        text = f"no package has an executable /{INIT}"
    yield found("init-missing", INIT, package, text)


def _os_release(root: Root) -> Iterator[Finding]:
    if any(root.file(path) is not None for path in _OS_RELEASE):
        return
    path = next((path for path in _OS_RELEASE if path in root.paths), _OS_RELEASE[0])
    package = root.package(path)
    said = f"{package} has /{path}, which leads to no file, and " if package else ""
    text = f"{said}no package has an os-release (/{' or /'.join(_OS_RELEASE)})"
    yield found("os-release-missing", path, package, text)


def _mount_points(root: Root) -> Iterator[Finding]:
    for path in _MOUNT_POINTS:
        real = root.follow(path).found
        if real is not None and root.paths[real][1].type == DIRECTORY:
            continue
        package = root.package(path)
        if package:
            text = f"{package} has /{path}, which has to be mounted on and leads to no directory"
        else:
            text = f"no package has the directory /{path}, which has to be mounted on"
        yield found("mount-point-missing", path, package, text)


def _units(root: Root) -> Iterator[Finding]:
    for unit in root.system.good_when:
        if unit.endswith(_GENERATED_UNITS):
            continue
        stem, at, rest = unit.partition("@")
        template = f"{stem}@.{rest.rpartition('.')[2]}" if at else unit
        names = {unit, template}
        if any(root.follow(f"{where}/{name}").found for where in _UNITS for name in names):
            continue
        path = f"{_UNITS[2]}/{template}"
        text = f"the list waits for {unit}, and no package has its file (such as /{path})"
        yield found("unit-missing", path, "", text)
