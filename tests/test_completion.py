"""Completion in real shells, from the files that install-hooks installs."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
PATIENCE = 120
"""Seconds until a shell that says nothing is given up."""


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self.said = ""
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.execvpe(argv[0], argv, env)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def wait_for(self, text: str) -> None:
        """Wait until the shell has said `text`, behind what was waited for before."""
        end = time.monotonic() + PATIENCE
        while text not in self.said:
            ready, _, _ = select.select([self._fd], [], [], max(0, end - time.monotonic()))
            assert ready, f"no {text!r} in {self.said!r}"
            try:
                self.said += os.read(self._fd, 4096).decode(errors="replace")
            except OSError:
                raise AssertionError(f"it ended without {text!r}: {self.said!r}") from None
        self.said = self.said.partition(text)[2]

    def close(self) -> None:
        os.close(self._fd)
        os.waitpid(self._pid, 0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the completion files, and a store with the lists `garden` and `workshop`."""
    made = tmp_path_factory.mktemp("completion")
    argv = [BIN / "bootunion", "install-hooks", "--root", made, "--completion"]
    subprocess.run(argv, check=True, capture_output=True)
    for name in ("garden", "workshop"):
        (made / "store/lists" / name).mkdir(parents=True)
    return made


@pytest.fixture
def env(root: Path, tmp_path: Path) -> dict[str, str]:
    return {
        "HOME": str(tmp_path), "PATH": f"{BIN}:{os.environ['PATH']}", "TERM": "dumb",
        "LC_ALL": "C.UTF-8", "XDG_DATA_DIRS": f"{root}/usr/local/share:/usr/share",
        "BOOTUNION_STORE": f"{root}/store",
    }  # fmt: skip


def complete(shell: Terminal) -> None:
    """Commands, options and list names, each by the Tab key."""
    shell.type("bootunion veri\t")
    shell.wait_for("verify")
    shell.type("gar\t")
    shell.wait_for("garden")
    shell.type("--gen\t")
    shell.wait_for("--generation")
    # A control-U takes the line away.
    shell.type("\x15bootunion trust pub\t")
    shell.wait_for("publish")
    shell.type("\x15bootunion doctor work\t")
    shell.wait_for("workshop")


def test_bash_completes(root: Path, env: dict[str, str]) -> None:
    shell = Terminal(["bash", "--noprofile", "--norc", "-i"], env)
    try:
        shell.type("bind 'set enable-bracketed-paste off'\n")
        shell.type(". /usr/share/bash-completion/bash_completion; PS1='rea''dy> '\n")
        shell.wait_for("ready>")
        complete(shell)
        shell.type(f"\x15unset BOOTUNION_STORE; bootunion plan --store {root}/store gar\t")
        shell.wait_for("store gar")
        shell.wait_for("den")
    finally:
        shell.close()


def test_zsh_completes(root: Path, env: dict[str, str]) -> None:
    shell = Terminal(["zsh", "-f", "-i"], env)
    functions = f"{root}/usr/local/share/zsh/site-functions"
    try:
        shell.type(f"fpath=({functions} $fpath); autoload -Uz compinit; compinit -D; ")
        shell.type("PS1='rea''dy> '\n")
        shell.wait_for("ready>")
        complete(shell)
    finally:
        shell.close()


def test_fish_completes(root: Path, env: dict[str, str]) -> None:
    def query(line: str) -> list[str]:
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source {place}; complete -C '{line}'"], env=env,
            capture_output=True, text=True, check=True, timeout=PATIENCE,
        )  # fmt: skip
        return [one.partition("\t")[0] for one in done.stdout.splitlines()]

    place = root / "usr/local/share/fish/vendor_completions.d/bootunion.fish"
    assert query("bootunion veri") == ["verify"]
    assert query("bootunion verify ") == ["garden", "workshop"]
    assert query("bootunion plan --gen") == ["--generation"]
    assert query(f"bootunion plan --store {root}/store work") == ["workshop"]


def test_fish_finds_the_file_by_itself(root: Path, env: dict[str, str]) -> None:
    done = subprocess.run(
        ["fish", "-c", "complete -C 'bootunion verify '"], env=env, capture_output=True,
        text=True, check=True, timeout=PATIENCE,
    )  # fmt: skip
    assert [one.partition("\t")[0] for one in done.stdout.splitlines()] == ["garden", "workshop"]


@pytest.mark.parametrize("shell, name", [("bash", "bash/bootunion"), ("zsh", "zsh/_bootunion"),
                                         ("fish", "fish/bootunion.fish")])  # fmt: skip
def test_without_the_program_a_shell_says_nothing(shell: str, name: str, tmp_path: Path) -> None:
    file = Path(__file__).resolve().parents[1] / "bootunion/share/completion" / name
    program = shutil.which(shell)
    assert program is not None
    env = {"PATH": "/nowhere", "HOME": str(tmp_path)}
    done = subprocess.run([program, "-c", f". {file}"], env=env, capture_output=True, text=True,
                          check=False, timeout=PATIENCE)  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")
