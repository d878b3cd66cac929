"""The agent's files for an initramfs, and the options by which an initramfs starts it."""

import ast
import os
from pathlib import Path

import pytest

from bootunion.host import closure
from bootunion.initrd import agent
from bootunion.initrd.boot import Inputs

PYTHON = Path("/usr/bin/python3")

TOP = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def files() -> tuple[closure.File, ...]:
    return closure.compute(PYTHON)


def test_each_file_is_there_once(files: tuple[closure.File, ...]) -> None:
    real = [os.path.realpath(file.source) for file in files if file.kind != "text"]
    assert sorted(real) == sorted(set(real))


def test_libraries_are_there_by_the_name_that_they_are_looked_up_by(
    files: tuple[closure.File, ...],
) -> None:
    names = {Path(file.destination).name for file in files}
    assert {"libc.so.6", "libffi.so.8", "libudev.so.1", "ld-linux-x86-64.so.2"} <= names


def test_scripts_and_unit_come_with_the_agent(files: tuple[closure.File, ...]) -> None:
    places = {file.destination for file in files}
    assert {f"/usr/lib/bootunion/{name}" for name in closure.SCRIPTS} <= places
    assert closure.UNIT in places and closure.ENTRY in places


@pytest.mark.root
def test_the_files_work_alone_and_a_missing_one_is_found(
    files: tuple[closure.File, ...], tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    closure.install(files, tmp_path)
    closure.smoke_test(tmp_path)
    (tmp_path / "usr/lib/bootunion/agent/bootunion/choice.pyc").unlink()
    with pytest.raises(Exception, match="choice"):
        closure.smoke_test(tmp_path)


def test_an_initramfs_can_name_its_sysroot() -> None:
    assert agent._parse(["--sysroot", "/new_root"]) == Inputs(sysroot="/new_root")
    given = agent._parse(["--wait-only", "--run", "/r", "--keep-running"])
    assert given == Inputs(run="/r", wait_only=True, keep_running=True)


@pytest.mark.parametrize(
    "words", [["--sysroot"], ["--nonsense"], ["sysroot", "/x"], ["--trust", ""]]
)
def test_a_mistyped_option_starts_nothing(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        agent._parse(words)
    assert stopped.value.code == 2


def lazily(path: Path) -> set[str]:
    """Every module that a module names in an import, but for what type checkers alone see."""
    found: set[str] = set()

    def look(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                for other in child.orelse:
                    look(other)
            elif isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                package = path.relative_to(TOP).parts[:-1]
                base = package[: len(package) - child.level + 1] if child.level else ()
                stem = ".".join((*base, *((child.module,) if child.module else ())))
                found.update((stem, *(f"{stem}.{alias.name}" for alias in child.names)))
            else:
                look(child)

    look(ast.parse(path.read_text()))
    return found


def test_what_the_agent_imports_late_is_there_as_well(files: tuple[closure.File, ...]) -> None:
    """A module that only a refusal needs is missing at no boot but the one that must refuse."""
    ours = {Path(one.source) for one in files if "/agent/bootunion/" in one.destination}
    here = {str(one.relative_to(TOP).with_suffix("")).replace("/", ".") for one in ours}
    assert "bootunion.initrd.boot" in here
    missing = {
        (path.name, name)
        for path in ours
        for name in lazily(path)
        if (TOP / name.replace(".", "/")).with_suffix(".py").is_file() and name not in here
    }
    assert missing == set()
