"""Whether the modules in the union are those of the kernel that boots, and modprobe finds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..contents import FILE
from .finding import WARNING, Finding, found
from .root import MODULES, Root

_SUFFIXES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")


class _Release(NamedTuple):
    """The modules of one kernel: the layer of its modules.dep, and a module of each package."""

    modules: dict[int, str]
    dep: int | None


def check(root: Root, *, composed: bool) -> Iterator[Finding]:
    """Findings about kernel modules. What is not composed yet has no output of depmod."""
    releases = _releases(root)
    wanted = root.system.kernel
    if wanted and (wanted not in releases or releases[wanted].dep is None):
        yield _missing(releases.get(wanted), wanted, root, "")
    elif wanted and not releases[wanted].modules:
        path = f"{MODULES}{wanted}/modules.dep"
        package = root.package(path)
        text = f"{package} has /{path}, and no package has a module of kernel {wanted}"
        yield found("modules-missing", path, package, text, severity=WARNING)
    stated = [release for release in releases if releases[release].modules]
    if not wanted and len(stated) > 1:
        yield _several(stated, releases, root)
    for release, one in releases.items():
        if release == wanted or not one.modules:
            continue
        if wanted:
            layer, path = min(one.modules.items())
            text = (
                f"{root.names[layer]} has /{path}, a module of kernel {release}, and the list is "
                f"for {wanted}"
            )
            yield found("modules-unused", path, root.names[layer], text)
        elif one.dep is None and composed:
            yield _missing(one, release, root, WARNING)
    for release, one in releases.items():
        yield from _foreign(release, one, root)


def _releases(root: Root) -> dict[str, _Release]:
    result: dict[str, _Release] = {}
    for path in sorted(root.modules):
        layer, entry = root.paths[path]
        release, _, name = path[len(MODULES) :].partition("/")
        one = result.setdefault(release, _Release({}, None))
        if entry.type == FILE and path.endswith(_SUFFIXES):
            one.modules.setdefault(layer, path)
        elif entry.type == FILE and name == "modules.dep":
            result[release] = one._replace(dep=layer)
    return result


def _missing(one: _Release | None, release: str, root: Root, severity: str) -> Finding:
    path = f"{MODULES}{release}/modules.dep"
    if one is not None and one.modules:
        package = root.names[min(one.modules)]
        text = f"{package} has modules of kernel {release}, and no package has /{path}"
    else:
        package = ""
        text = f"the list is for kernel {release}, and no package has /{path}"
    return found("modules-missing", path, package, text, severity=severity)


def _several(stated: list[str], releases: dict[str, _Release], root: Root) -> Finding:
    whose = [(root.names[min(releases[one].modules)], one) for one in stated]
    said = " and ".join(f"{package} of {release}" for package, release in whose)
    package, release = whose[-1]
    path = f"{MODULES}{release}"
    text = f"the list states no kernel, and there are modules of {said} (/{path})"
    return found("kernel-several", path, package, text)


def _foreign(release: str, one: _Release, root: Root) -> Iterator[Finding]:
    """depmod sees the modules of the union only when it runs over the union."""
    if one.dep is None or root.names[one.dep] == root.generated:
        return
    path = f"{MODULES}{release}/modules.dep"
    hidden = [pair.loser for pair in root.merged.contested
              if pair.path == path and pair.winner == one.dep]  # fmt: skip
    unknown = [layer for layer in one.modules if layer != one.dep]
    for layer in sorted({*hidden, *unknown}):
        winner, loser = root.names[one.dep], root.names[layer]
        what = "hides that of" if layer in hidden else "does not know the modules of"
        text = f"{winner} has /{path}, which {what} {loser}"
        yield found("modules-dep-foreign", path, winner, text)
