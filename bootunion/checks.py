"""What would make the boot of a merged namespace fail, or surprise: pure, from contents alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from .contents import DIRECTORY, FILE
from .merge import CONTENT, METADATA, SAME, TYPE, Contested, Marker, Namespace
from .plan import STORE_MOUNT_POINT
from .systemlist import SystemList

FATAL = "fatal"
WARNING = "warning"
INFO = "info"
KINDS: tuple[str, ...] = (SAME, METADATA, CONTENT, TYPE)

_INIT = "sbin/init"
_MOUNT_POINTS = ("proc", "sys", "dev", "run", STORE_MOUNT_POINT.lstrip("/"))
_MERGED = ("bin", "sbin", "lib", "lib64")


class Finding(NamedTuple):
    """One thing that a check found: `severity` is `fatal` or `warning`, `text` one sentence."""

    severity: str
    code: str
    path: str
    text: str
    package: str = ""
    way_out: str = ""


def check(system: SystemList, merged: Namespace) -> tuple[Finding, ...]:
    """Everything that the contents tell about booting `system`."""
    names = [layer.name for layer in system.layers]
    declared = {tuple(one) for one in system.shadowings}
    return (
        *_entry_points(merged),
        *_mount_points(merged),
        *_merged_usr(merged, names),
        *_kernel(system, merged),
        *(found for one in merged.markers for found in _marker(one, names, declared)),
        *(_shadowing(one, names) for one in merged.contested if _matters(one, names)),
    )


def _entry_points(merged: Namespace) -> list[Finding]:
    found = []
    init = merged.resolve(_INIT)
    if init is None or init[1].type != FILE or not init[1].mode & 0o111:
        text = "no executable /sbin/init: install systemd-sysv or another init"
        found.append(Finding(FATAL, "init-missing", "/sbin/init", text))
    release = merged.resolve("etc/os-release") or merged.resolve("usr/lib/os-release")
    if release is None or release[1].type != FILE:
        text = "no os-release: systemd refuses to switch to such a root; install base-files"
        found.append(Finding(FATAL, "os-release-missing", "/etc/os-release", text))
    return found


def _mount_points(merged: Namespace) -> list[Finding]:
    found = []
    for path in _MOUNT_POINTS:
        at = merged.resolve(path)
        if at is None or at[1].type != DIRECTORY:
            text = "is no directory in any package, but has to be mounted on"
            found.append(Finding(FATAL, "mount-point-missing", f"/{path}", text))
    return found


def _merged_usr(merged: Namespace, names: Sequence[str]) -> list[Finding]:
    found = []
    for path in _MERGED:
        at = merged.paths.get(path)
        below = merged.paths.get(f"usr/{path}")
        if at is not None and below is not None and at[1].type == DIRECTORY:
            text = f"{names[at[0]]} has a real directory that hides the symlink of merged /usr"
            found.append(Finding(FATAL, "merged-usr", f"/{path}", text))
    return found


def _kernel(system: SystemList, merged: Namespace) -> list[Finding]:
    if system.kernel and merged.resolve(f"usr/lib/modules/{system.kernel}/modules.dep") is None:
        path = f"/usr/lib/modules/{system.kernel}"
        text = f"the list is for kernel {system.kernel}, whose modules.dep no package has"
        return [Finding(FATAL, "modules-missing", path, text)]
    return []


def _matters(one: Contested, names: Sequence[str]) -> bool:
    # The generated layer is there to win: what it changes was made by the packages' own scripts.
    return one.kind != SAME and not names[one.winner].endswith("-generated")


def _shadowing(one: Contested, names: Sequence[str]) -> Finding:
    winner, loser = names[one.winner], names[one.loser]
    text = f"{winner} hides what {loser} has there (other {one.kind})"
    severity = FATAL if one.kind == TYPE and one.path in _MERGED else WARNING
    return Finding(severity, "shadowed", f"/{one.path}", text)


def _marker(
    one: Marker, names: Sequence[str], declared: Collection[tuple[str, ...]]
) -> list[Finding]:
    """A marker hides files without having any: only what the signed list declares may do that."""
    path, winner = f"/{one.path}", names[one.layer]
    losers = [names[loser] for loser in one.losers]
    undeclared = [loser for loser in losers if (path, winner, loser) not in declared]
    if losers and not undeclared:
        return []
    whose = f"what {undeclared[0]} has there" if undeclared else "nothing"
    text = f"{winner} has a marker that hides {whose}, and the list does not declare it"
    return [Finding(FATAL, "overlay-marker", path, text)]


def severity(one: Contested, system: SystemList) -> str:
    """How bad a contested pair is."""
    return WARNING if _matters(one, [layer.name for layer in system.layers]) else INFO


def denied(
    findings: Collection[Finding], merged: Namespace, _: SystemList, kinds: Sequence[str]
) -> tuple[str, ...]:
    """Those of `kinds` that are there."""
    there = {one.code for one in findings} | {one.kind for one in merged.contested}
    return tuple(kind for kind in kinds if kind in there)
