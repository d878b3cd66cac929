"""What a check can find: one table of every code, and the finding itself.

A code is an interface, as in `codes`: `plan --json` has it and `plan --deny` takes it. It is never
renamed. docs/plan.md has this table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..text import printable

FATAL = "fatal"  # the root does not come up, or the agent refuses
WARNING = "warning"  # the root comes up, and something in it does not work or surprises
INFO = "info"  # good to know
SEVERITIES = (FATAL, WARNING, INFO)


class Finding(NamedTuple):
    """One thing that a check found.

    `severity` is one of `SEVERITIES`, `code` a key of `CHECKS`, `path` absolute ("" for none),
    `package` a layer's name ("" for none), `text` one sentence that names both, `way_out` another.
    """

    severity: str
    code: str
    path: str
    package: str
    text: str
    way_out: str


class Check(NamedTuple):
    """What a code means: `severity` is what it is when nothing else is said."""

    severity: str
    meaning: str
    way_out: str


# Sorted by code.
CHECKS: dict[str, Check] = {
    "dependency-missing": Check(
        WARNING,
        "A package depends on one that the list does not have (Depends and Pre-Depends).",
        "Add the package, or leave out the one that needs it.",
    ),
    "dependency-version": Check(
        WARNING,
        "A package depends on another version of a package than the list has.",
        "Take both packages from the same suite.",
    ),
    "init-missing": Check(
        FATAL,
        "/sbin/init leads to no program that may be executed.",
        "Add a package with an init, such as systemd-sysv.",
    ),
    "interpreter-missing": Check(
        WARNING,
        "The program that loads an ELF program (ld.so) is not in the union; fatal for the init.",
        "Add the package that has it, libc6 for most programs; a foreign program needs that of its "
        "own architecture.",
    ),
    "kernel-several": Check(
        WARNING,
        "The union has modules of several kernels, and the list states none.",
        "Keep one kernel's package: then the list states its release, and the agent checks it.",
    ),
    "layers-too-many": Check(
        FATAL,
        "There are more layers than one overlay takes (OVL_MAX_STACK, 500).",
        "Compose the list with `union: index`, leave packages out, or put small ones together with "
        "`bootunion build`.",
    ),
    "library-elsewhere": Check(
        INFO,
        "A needed library is in the union, but where the loader does not look: whoever loads the "
        "file may have loaded the library before. A warning for a program.",
        "Nothing, when the program works; else add its directory to /etc/ld.so.conf.d.",
    ),
    "library-missing": Check(
        WARNING,
        "No package has a library that a program or library needs; fatal for the init, only noted "
        "for plugins, which lie in directories of their own.",
        "Add the package that has it, or leave out the one that needs it.",
    ),
    "linking-unknown": Check(
        INFO,
        "The contents of a package do not tell what its programs need: it was made by an older "
        "bootunion.",
        "Import or build it again into a store that does not have it.",
    ),
    "machine-foreign": Check(
        WARNING,
        "A program is for a processor that machines of the list's architecture do not have; fatal "
        "for the init.",
        "Take the package for the list's architecture.",
    ),
    "merged-usr": Check(
        FATAL,
        "A real /bin, /sbin or /lib* hides the symlink into /usr, and with it the programs there.",
        "Move what the package has there below /usr, or import it again: `import deb` does so.",
    ),
    "merged-usr-missing": Check(
        WARNING,
        "The symlink /bin, /sbin or /lib* into /usr is missing: what is started by its old path "
        "is not found.",
        "Add a package with the symlinks, such as usrmerge's or base-files of a newer release; "
        "`bootunion compose` makes them.",
    ),
    "modules-dep-foreign": Check(
        WARNING,
        "The modules.dep of one package hides that of another, or does not know its modules: "
        "modprobe does not find them.",
        "Let `bootunion compose` make one for all, or run depmod over them and build a package "
        "of what it writes, on top.",
    ),
    "modules-missing": Check(
        FATAL,
        "No package has the modules.dep of the list's kernel; a warning for a kernel that the "
        "list does not state, or when only the modules are missing.",
        "Add the kernel's package, and compose again, so that depmod's output is in the generated "
        "layer.",
    ),
    "modules-unused": Check(
        INFO,
        "The union has modules of a kernel that the list is not for.",
        "Leave the other kernel's package out.",
    ),
    "mount-point-missing": Check(
        FATAL,
        "/proc, /sys, /dev, /run or /pkgs is no directory in the union.",
        "Add the directory to a package; `bootunion compose` makes all of them.",
    ),
    "mount-options-long": Check(
        FATAL,
        "The overlay's options do not fit in the page that mount(2) takes; the agent needs it "
        "before Linux 6.15. A warning when the list states no kernel.",
        "Use fewer layers, shorter `root` directories in the images, or a newer kernel.",
    ),
    "os-release-missing": Check(
        FATAL,
        "There is no os-release, without which systemd does not switch to a root.",
        "Add the package that has it, such as base-files.",
    ),
    "overlay-marker": Check(
        FATAL,
        "A whiteout or another marker for overlayfs that the signed list does not declare.",
        "Take the marker out of the package; what maintainer scripts take away is declared by "
        "`allow-whiteouts` in the system.yaml.",
    ),
    "script-interpreter-missing": Check(
        WARNING,
        "The program behind #! in a script is not in the union; fatal for the init, only noted for "
        "scripts that other programs run.",
        "Add the package that has it, or leave out the one that needs it.",
    ),
    "shadowed": Check(
        WARNING,
        "A package hides what another has, and that is not the same.",
        "Swap or leave out one of them, or approve it under `approve` in the system.yaml.",
    ),
    "stacking-depth": Check(
        WARNING,
        "The root is an overlay on what counts as one already, so that no container can put "
        "its own on top (FILESYSTEM_MAX_STACK_DEPTH, 2); fatal beyond that.",
        "Use squashfs or EROFS images, which are mounted from block devices.",
    ),
    "symlink-dangling": Check(
        WARNING,
        "A symlink where programs, libraries or units are looked for leads to nothing; "
        "elsewhere, such as in documentation, it is only noted.",
        "Add the package that has its target, or leave the symlink out.",
    ),
    "unit-missing": Check(
        WARNING,
        "A unit of `good-when` is in no package, so that no boot would be marked good.",
        "Correct `good-when` in the system.yaml, or add the unit's package.",
    ),
}


def found(
    code: str, path: str, package: str, text: str, *, severity: str = "", way_out: str = ""
) -> Finding:
    """A finding of `code` about `path`, relative to the root; the table says the rest."""
    usual = CHECKS[code]
    at = f"/{path.lstrip('/')}" if path else ""
    return Finding(
        severity or usual.severity, code, at, package, printable(text),
        printable(way_out or usual.way_out),
    )  # fmt: skip


_OF_ABSENCE = frozenset(
    (
        "dependency-missing", "init-missing", "interpreter-missing", "library-elsewhere",
        "library-missing", "merged-usr-missing", "modules-missing", "mount-point-missing",
        "os-release-missing", "script-interpreter-missing", "symlink-dangling", "unit-missing",
    )
)  # fmt: skip


def doubted(one: Finding, unknown: Sequence[str]) -> Finding:
    """What a finding is worth while nobody knows what the packages `unknown` hold."""
    if one.code not in _OF_ABSENCE or not unknown:
        return one
    more = and_more(len(unknown) - 1, "packages")
    text = f"{one.text}; what {unknown[0]}{more} would bring is not known yet"
    return one._replace(severity=INFO, text=text)


def and_more(others: int, what: str) -> str:
    """How a sentence about the first of several ends."""
    return f" (and {others} more {what})" if others > 0 else ""
