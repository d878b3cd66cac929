"""Whether programs, libraries and scripts find what they need inside the union.

The rules are ld.so's (ld.so(8), "DESCRIPTION"): a soname is looked for in DT_RUNPATH or DT_RPATH,
in the directories that ld.so.cache lists, in the default ones; a library of another machine is
passed over. The cache stands for /etc/ld.so.conf, which the loader itself never reads; without a
cache in the union the default directories are all there is. Not followed: DT_RPATH of whoever
loads a library, LD_LIBRARY_PATH, libraries that were loaded under the same name before. So a
library that is somewhere else in the union is only noted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..contents import FILE, LOADER_CACHE, Entry, Linking
from .entry import INIT
from .finding import FATAL, INFO, WARNING, Finding, and_more, found
from .root import Root

_CACHE = "etc/ld.so.cache"
# Machine: Debian's directory for it (its glibc searches that first), other default directories.
_LIBRARIES = {
    "64-x86-64": ("x86_64-linux-gnu", "lib64"),
    "32-386": ("i386-linux-gnu", "lib32"),
    "32-x86-64": ("x86_64-linux-gnux32", "libx32"),
    "64-aarch64": ("aarch64-linux-gnu", "lib64"),
    "32-arm": ("arm-linux-gnueabihf", "lib32"),
    "64-riscv": ("riscv64-linux-gnu", "lib64"),
    "64-ppc64le": ("powerpc64le-linux-gnu", "lib64"),
    "64-s390": ("s390x-linux-gnu", "lib64"),
    "64-loongarch": ("loongarch64-linux-gnu", "lib64"),
}
_MUSL = "usr/local/lib"  # musl's default path has it (ldso/dynlink.c)
# What the kernels of an architecture run.
_MACHINES = {
    "amd64": ("64-x86-64", "32-386", "32-x86-64"),
    "i386": ("32-386",),
    "arm64": ("64-aarch64", "32-arm"),
    "armhf": ("32-arm",),
    "riscv64": ("64-riscv",),
    "ppc64el": ("64-ppc64le",),
    "s390x": ("64-s390", "32-s390"),
}
_ALIASES = {"x86_64": "amd64", "i686": "i386", "aarch64": "arm64", "armv7h": "armhf",
            "ppc64le": "ppc64el"}  # fmt: skip
# env(1) uses PATH; this is a login's, with what an administrator adds.
_PATH = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
# Examples, sources, debug files and firmware are not run on this system.
_NOT_RUN = ("usr/share/doc/", "usr/lib/debug/", "usr/src/", "usr/lib/firmware/", "usr/share/",
            "var/lib/dpkg/")  # fmt: skip
_PROGRAMS = ("usr/bin/", "usr/sbin/", "usr/libexec/", "usr/local/", "bin/", "sbin/", "opt/")
# Where init, udev and cron look for what they run by themselves.
_RUN = (*_PROGRAMS, "usr/lib/systemd/", "usr/lib/udev/", "etc/init.d/", "etc/cron.")


class Problem(NamedTuple):
    """What the file at `path` lacks: `wanted` as it names it; `at` where it is all the same."""

    code: str
    path: str
    wanted: str
    at: str = ""
    started: bool = False  # the file is a program, not a library


class Linker:
    """Finds what files need, as the kernel and the loader would."""

    def __init__(self, root: Root) -> None:
        self._root = root
        architecture = root.system.architecture
        self._machines = _MACHINES.get(_ALIASES.get(architecture, architecture), ())
        at = root.file(_CACHE)
        cache = at[1].linking if at is not None else None
        listed = cache.search if cache is not None and cache.machine == LOADER_CACHE else ()
        self._cached = tuple(one.strip("/") for one in listed)
        self.common = frozenset((*self._cached, *_default_places()))
        self._found: dict[tuple[str, str], str | None] = {}
        self._names: dict[tuple[str, str], str] | None = None

    def problems(self, path: str, linking: Linking) -> Iterator[Problem]:
        """What the file at a real path lacks."""
        if not linking.machine:
            yield from self._script(path, linking)
            return
        if self._machines and linking.machine not in self._machines:
            yield Problem("machine-foreign", path, linking.machine)
            return
        if linking.interpreter and self._root.program(linking.interpreter) is None:
            yield Problem("interpreter-missing", path, linking.interpreter)
        for soname in linking.needed:
            if self.library(path, linking, soname) is None:
                at = self._elsewhere(linking.machine, soname)
                if at.rpartition("/")[0] == path.rpartition("/")[0] and not linking.interpreter:
                    continue  # a private library beside its user: one program loads both
                code = "library-elsewhere" if at else "library-missing"
                yield Problem(code, path, soname, at, bool(linking.interpreter))

    def _script(self, path: str, linking: Linking) -> Iterator[Problem]:
        if self._root.program(linking.interpreter) is None or linking.interpreter[:1] != "/":
            yield Problem("script-interpreter-missing", path, linking.interpreter)
        for name in linking.needed:
            if self.command(name) is None:
                yield Problem("script-interpreter-missing", path, name)

    def command(self, name: str) -> str | None:
        """The real path of a program that env(1) would run."""
        places = (name,) if "/" in name else (f"{place}/{name}" for place in _PATH)
        at = next(filter(None, map(self._root.program, places)), None)
        return at[0] if at is not None else None

    def library(self, path: str, linking: Linking, soname: str) -> str | None:
        """The real path of a library that the loader would take for the file at `path`."""
        machine = linking.machine
        if "/" in soname:
            return self._library(soname, machine)
        for place in linking.search:
            where = self._expand(place, path, machine)
            at = self._library(f"{where}/{soname}", machine) if where else None
            if at is not None:
                return at
        if (machine, soname) not in self._found:
            self._found[machine, soname] = self._by_default(machine, soname)
        at = self._found[machine, soname]
        return at or self._loader_itself(linking, soname)

    def _by_default(self, machine: str, soname: str) -> str | None:
        for place in (*self._cached, *_default_places(machine)):
            at = self._library(f"{place}/{soname}", machine)
            if at is not None:
                return at
        return None

    def _library(self, path: str, machine: str) -> str | None:
        at = self._root.file(path)
        if at is None:
            return None
        # Where the contents do not tell, the file is taken at its name.
        fits = at[1].linking is None or at[1].linking.machine == machine
        return at[0] if fits else None

    def _loader_itself(self, linking: Linking, soname: str) -> str | None:
        """A program's interpreter is loaded already when the library of that name is needed."""
        at = self._root.file(linking.interpreter) if linking.interpreter else None
        if at is None or at[1].linking is None:
            return None
        names = (at[1].linking.soname, linking.interpreter.rpartition("/")[2])
        return at[0] if soname in names else None

    def _expand(self, place: str, path: str, machine: str) -> str:
        """A directory of DT_RUNPATH, relative to the root; "" for one relative to nowhere."""
        origin = "/" + path.rpartition("/")[0]
        values = {"ORIGIN": origin, "LIB": f"lib/{_LIBRARIES.get(machine, ('', ''))[0]}",
                  "PLATFORM": machine.partition("-")[2].replace("-", "_")}  # fmt: skip
        for name, value in values.items():
            place = place.replace(f"${{{name}}}", value).replace(f"${name}", value)
        return place if place.startswith("/") else ""

    def _elsewhere(self, machine: str, soname: str) -> str:
        """Where else in the union the library is, "" for nowhere."""
        if self._names is None:
            self._names = {}
            for path in self._root.linked:
                linking = _linking(self._root.paths[path][1])
                for name in {path.rpartition("/")[2], linking.soname}:
                    if linking.machine and name:
                        self._names.setdefault((linking.machine, name), path)
        return self._names.get((machine, soname), "")

    def loads(self, path: str, linking: Linking) -> Iterator[str]:
        """The real paths of all that starting the file at `path` loads."""
        at = self._root.program(linking.interpreter) if linking.interpreter else None
        if at is not None:
            yield at[0]
        for name in linking.needed:
            real = self.library(path, linking, name) if linking.machine else self.command(name)
            if real is not None:
                yield real


def _default_places(*machines: str) -> Iterator[str]:
    """The directories that ld.so searches without being told, for machines or for all."""
    for machine in machines or _LIBRARIES:
        own, other = _LIBRARIES.get(machine, ("", "lib64"))
        yield from (f"lib/{own}", f"usr/lib/{own}", "lib", "usr/lib", other, f"usr/{other}", _MUSL)


def _linking(entry: Entry) -> Linking:
    return entry.linking or Linking()


def check(root: Root, *, composed: bool) -> Iterator[Finding]:
    """Findings about what files need; the init, and all that it needs to start, is fatal.

    All files that lack the same share one finding. Until a list is composed, alternatives such as
    /usr/bin/awk are not there, nor is ld.so.cache.
    """
    linker = Linker(root)
    groups: dict[tuple[str, str, str], list[Problem]] = {}
    fatal = list(_of_init(root, linker))
    for one in fatal:
        groups.setdefault((FATAL, one.code, one.wanted), []).append(one)
    known = {(one.path, one.wanted) for one in fatal}
    for path in root.linked:
        entry = root.paths[path][1]
        linking = _linking(entry)
        if path.startswith(_NOT_RUN) or linking.machine == LOADER_CACHE:
            continue
        for one in linker.problems(path, linking):
            if (one.path, one.wanted) not in known and _matters(one, entry):
                made = one.code in ("script-interpreter-missing", "library-elsewhere")
                severity = INFO if made and not composed else _severity(one, linker)
                groups.setdefault((severity, one.code, one.wanted), []).append(one)
    for (severity, _, _), problems in groups.items():
        yield _finding(root, problems, severity)
    yield from _unknown(root)


def _matters(one: Problem, entry: Entry) -> bool:
    # A library, plugin or data file of another machine is somebody's cargo; a program in a place
    # for programs is there to be run.
    if one.code == "machine-foreign":
        return bool(entry.mode & 0o111) and one.path.startswith(_PROGRAMS)
    return True


def _severity(one: Problem, linker: Linker) -> str:
    """A warning for what a program lacks, or a library for everybody.

    What a plugin lacks, or a script that only some other program runs, is noted: packages have
    them for programs that may not be there.
    """
    run = one.path.startswith(_RUN)
    if one.code == "library-missing":
        common = one.path.rpartition("/")[0] in linker.common
        return WARNING if one.started or common else INFO
    if one.code == "library-elsewhere":
        return WARNING if one.started and run else INFO
    script = one.code == "script-interpreter-missing"
    return INFO if script and not run else WARNING


def _of_init(root: Root, linker: Linker) -> Iterator[Problem]:
    """What the init lacks, or what it needs lacks: with a library missing nothing starts."""
    at = root.program(INIT)
    waiting = [at[0]] if at is not None else []
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        linking = root.paths[path][1].linking
        if linking is None:
            continue
        for one in linker.problems(path, linking):
            if one.code != "library-elsewhere":
                yield one
        for real in linker.loads(path, linking):
            if real not in seen:
                seen.add(real)
                waiting.append(real)


def _finding(root: Root, problems: list[Problem], severity: str) -> Finding:
    # The generated layer's files are copies of packages' files that scripts have changed.
    first = next((one for one in problems if root.package(one.path) != root.generated), problems[0])
    code, path, wanted, at, _ = first
    package = root.package(path)
    others = len({root.paths[one.path][0] for one in problems}) - 1
    whose = f"files, also of {others} more packages" if others else "files"
    subject = f"{package}: /{path}{and_more(len(problems) - 1, whose)}"
    sentence, way_out = {
        "machine-foreign": (f"{subject} is for the machine {wanted}", ""),
        "interpreter-missing": (f"{subject} is started by {wanted}, which no package has", ""),
        "script-interpreter-missing": (
            f"{subject} is a script for {wanted}, which no package has",
            f"Add the package that has {wanted}, or leave out {package}.",
        ),
        "library-missing": (
            f"{subject} needs {wanted}, which no package has",
            f"Add the package that has {wanted} (`apt-file search {wanted}` names it), or leave "
            f"out {package}.",
        ),
        "library-elsewhere": (
            f"{subject} needs {wanted}, which is at /{at}, where ld.so does not look",
            "",
        ),
    }[code]
    return found(code, path, package, sentence, severity=severity, way_out=way_out)


def _unknown(root: Root) -> Iterator[Finding]:
    """Packages with programs whose contents tell nothing of what those need."""
    told = {root.paths[path][0] for path in root.linked}
    untold: dict[int, str] = {}
    for path, (layer, entry) in root.paths.items():
        program = entry.type == FILE and entry.mode & 0o111 and path.startswith(_PROGRAMS)
        if program and layer not in told:
            untold.setdefault(layer, path)
    if untold:
        layer, path = min(untold.items())
        package = root.names[layer]
        more = and_more(len(untold) - 1, "packages have such files")
        text = f"the contents of {package} do not tell what /{path} needs{more}"
        yield found("linking-unknown", path, package, text)
