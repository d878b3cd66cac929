"""The agent's files for an initramfs, and the options by which an initramfs starts it."""

import os
from pathlib import Path

import pytest

from bootunion.host import closure
from bootunion.initrd import agent
from bootunion.initrd.boot import Inputs

PYTHON = Path("/usr/bin/python3")


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
