"""The agent's closure: the exact files that it needs in an initramfs.

Found by running the agent's imports and one signature check with the interpreter that will boot,
in the mode in which it will boot (`-I -S -E`), and asking that process what it loaded: Python
modules from `sys.modules`, shared objects from its own memory map. No list is kept by hand.

Modules go in as byte code without sources, which loads in a third of the time
(docs/measurements.md).

This module needs the standard library only, so that it also runs on a machine that has bootunion's
agent and not its command line: `python3 -m bootunion.host.closure`.
"""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from bootunion.errors import BootunionError

from . import run

AGENT_DIRECTORY = "/usr/lib/bootunion/agent"
"""Where modules lie in the initramfs that are not the standard library's."""

ENTRY = "/usr/lib/bootunion/bootunion-agent"
"""The program in the initramfs; the interpreter runs it with `-I -S -E -B`."""

SCRIPTS = ("bootunion-run", "bootunion-stop", "bootunion-emergency")
"""Shell scripts beside the program: what a generator's unit or hook calls, and how a boot ends."""

UNIT = "/usr/lib/systemd/system/bootunion-assemble.service"
"""Runs the agent where the initramfs has systemd; the generator's hook links who requires it."""

# Garbage in cycles is never looked for: there is next to none and the process is short. What it
# ends with is written by then, and taking the interpreter apart would cost each boot more than
# reading and checking a list (docs/measurements.md).
_ENTRY_TEXT = f"""\
import gc, os, sys
gc.disable()
sys.path.append("{AGENT_DIRECTORY}")
from bootunion.initrd.agent import main
status = main(sys.argv[1:])
sys.stdout.flush()
sys.stderr.flush()
os._exit(status)
"""

# Runs in the target interpreter. `pyudev.Context()` opens libudev; the signature is RFC 8032's
# first test vector, so that what only a verification loads is there, too.
_IMPORTS = """
import bootunion.codes, bootunion.initrd.agent, bootunion.initrd.device, bootunion.signature
import encodings.ascii, encodings.latin_1, hashlib, json
pyudev = bootunion.initrd.device.load_pyudev()
pyudev.Context(); pyudev.Monitor.from_netlink(pyudev.Context())
key = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
signature = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
    "d25bf5f0595bbe24655141438e7a100b")
assert bootunion.signature.verifies(key, signature, b"")
"""

_PATHS = "import json, sys; sys.path[:0] = json.loads(sys.argv[1])"
_TELL = """
modules = {}
for name, module in sorted(sys.modules.items()):
    spec = getattr(module, "__spec__", None)
    # cryptography puts stand-ins for deprecated modules into sys.modules: no spec, but a file.
    origin = spec.origin if spec else getattr(module, "__file__", None)
    if origin == "frozen":
        # Frozen modules need no file, but the interpreter looks for os.py to find its library.
        origin = getattr(module, "__file__", None) if name == "os" else None
    if name != "__main__" and origin and origin not in ("built-in", "frozen"):
        modules[name] = [origin, bool(getattr(module, "__path__", None))]
objects = sorted({line.split()[-1] for line in open("/proc/self/maps")
                  if ".so" in line and line.split()[-1].startswith("/")})
print(json.dumps([modules, objects, sys.executable]))
"""
_PROBE = _PATHS + _IMPORTS + _TELL


class File(NamedTuple):
    """A file for the initramfs: `source` on this machine, `destination` in the image.

    `kind` is "module" (a source to compile), "text" (`source` is the text) or "file".
    """

    source: str
    destination: str
    kind: str


def compute(python: Path) -> tuple[File, ...]:
    """The files that the agent needs when `python` runs it, sorted by destination.

    Raises BootunionError program-failed when the agent cannot be imported, naming what is missing.
    """
    package = Path(__file__).resolve().parents[1]
    places = [str(package.parent), *_dist_packages(python)]
    argv = [str(python), "-I", "-S", "-E", "-B", "-c", _PROBE, json.dumps(places)]
    said = run.run(argv, what=f"importing the agent with {python}").stdout
    modules, objects, executable = json.loads(said)
    files = {ENTRY: File(_ENTRY_TEXT, ENTRY, "text")}
    for name in SCRIPTS:
        place = f"{Path(ENTRY).parent}/{name}"
        files[place] = File(str(package / "initrd" / name), place, "file")
    files[UNIT] = File(str(package / "initrd" / Path(UNIT).name), UNIT, "file")
    for name, (origin, is_package) in modules.items():
        file = _module(name, origin, is_package, package)
        files[file.destination] = file
    real = os.path.realpath(executable)
    files[str(python)] = File(real, str(python), "file")
    for name in _library_names([real, *objects]):
        files[name] = File(name, name, "file")
    return tuple(sorted(files.values(), key=lambda file: file.destination))


def _dist_packages(python: Path) -> list[str]:
    code = "import json,site,sys; print(json.dumps([p for p in sys.path if 'packages' in p]))"
    said = run.run([str(python), "-c", code], what=f"asking {python} for its paths").stdout
    paths: list[str] = json.loads(said)
    return paths


def _module(name: str, origin: str, is_package: bool, package: Path) -> File:
    stdlib = "packages" not in origin and not origin.startswith(f"{package}/")
    extension = origin.endswith(".so")
    if extension:
        base = f"{AGENT_DIRECTORY}/{name.replace('.', '/')}"
        if stdlib:
            return File(origin, origin, "file")
        return File(origin, str(Path(base).with_name(Path(origin).name)), "file")
    if stdlib:
        return File(origin, f"{origin}c", "module")
    inner = name.replace(".", "/") + ("/__init__" if is_package else "")
    return File(origin, f"{AGENT_DIRECTORY}/{inner}.pyc", "module")


def _library_names(objects: list[str]) -> set[str]:
    """Each library once, by the name that it is looked up by: its soname, in its real directory.

    The loader itself keeps the name that is written in the programs.
    """
    found: set[str] = set()
    for path in objects:
        for line in run.run(["ldd", path], what=f"reading {path}").stdout.decode().splitlines():
            words = line.split()
            if "=>" in words and words[2].startswith("/"):
                found.add(_in_real_directory(words[2]))
            elif words[0].startswith("/"):
                found.add(words[0])
    # What was loaded without being linked to: ctypes' libraries, by their sonames, and plug-ins.
    known = {os.path.realpath(name) for name in found}
    for path in objects[1:]:
        if os.path.realpath(path) not in known and not _is_module(path):
            found |= set(_sonames(path)) or {path}
    return found


def _is_module(path: str) -> bool:
    # Python's own extension modules are in the table of modules.
    return "packages" in path or "/lib-dynload/" in path


def _in_real_directory(path: str) -> str:
    directory, name = os.path.split(path)
    return f"{os.path.realpath(directory)}/{name}"


def _sonames(path: str) -> list[str]:
    directory, name = os.path.split(path)
    return [
        str(link)
        for link in Path(directory).glob(f"{name.partition('.so')[0]}.so.*")
        if link.is_symlink() and os.path.realpath(link) == os.path.realpath(path)
    ]


def stage(files: tuple[File, ...], directory: Path) -> tuple[File, ...]:
    """Compile modules and write texts below `directory`; gives files that can all be copied."""
    staged = []
    for file in files:
        if file.kind == "file":
            staged.append(file)
            continue
        target = directory / file.destination.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.kind == "text":
            target.write_text(file.source, encoding="utf-8")
        else:
            py_compile.compile(
                file.source, str(target), dfile=file.destination, doraise=True, optimize=0,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )  # fmt: skip
        staged.append(File(str(target), file.destination, "file"))
    return tuple(staged)


def install(files: tuple[File, ...], target: Path) -> None:
    """Copy the files below `target`, links as files, compiled where they are modules."""
    for file in stage(files, target):
        place = target / file.destination.lstrip("/")
        if Path(file.source) != place:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file.source, place)


def smoke_test(target: Path, python: str = "/usr/bin/python3") -> None:
    """Run the imports and the signature check in `target` alone (chroot; needs root).

    Raises BootunionError program-failed when anything is missing in it.
    """
    code = f"import sys; sys.path.append('{AGENT_DIRECTORY}')\n{_IMPORTS}"
    argv = ["chroot", str(target), python, "-I", "-S", "-E", "-B", "-c", code]
    run.run(argv, what="trying the agent's files on their own")


def command(python: Path, target: Path | None, as_json: bool) -> None:
    """What `bootunion initramfs-files` does."""
    files = compute(python)
    if target is not None:
        install(files, target)
    if as_json:
        shown = [file._asdict() for file in files]
        print(json.dumps(shown, indent=2))
    elif target is None:
        for file in files:
            print(f"{'-' if file.kind == 'text' else file.source}\t{file.destination}")


def main(arguments: list[str]) -> int:
    """`python3 -m bootunion.host.closure STAGING`: stage, and print source and destination.

    This is what the dracut module calls; it needs no more than the agent itself.
    """
    try:
        if arguments[:1] == ["--smoke-test"]:
            smoke_test(Path(arguments[1]))
            return 0
        staging = Path(arguments[0]) if arguments else Path(tempfile.mkdtemp())
        for file in stage(compute(Path("/usr/bin/python3")), staging):
            print(f"{file.source}\t{file.destination}")
    except BootunionError as error:
        print(f"bootunion: {error} [{error.code}]", file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
