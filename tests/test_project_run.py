"""`bootunion run --project`: what a program of a project sees, as root and as an ordinary user."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import wheelmaking
from composing import BOOTUNION, needs_root
from wheelmaking import sha256, wheel

pytestmark = needs_root
TOP = Path(__file__).resolve().parents[1]
USER = 12345


class Room:
    """Two projects with two versions of one library, and a home."""

    def __init__(self, top: Path, user: int) -> None:
        self.top, self.user = top, user
        self.links = top / "links"
        self.options: tuple[str, ...] = ()
        for name in ("home", "links", "one", "two"):
            (top / name).mkdir()
        for name, version in (("one", "1.0"), ("two", "2.0")):
            files = {"demo.py": f"VERSION = '{version}'\ndef say(): print(VERSION)\n".encode()}
            info = f"demo-{version}.dist-info/entry_points.txt"
            points = b"[console_scripts]\nsay-version = demo:say\n"
            made = wheel(self.links, {**files, info: points}, version=version)
            text = f"demo=={version} --hash=sha256:{sha256(made)}\n"
            (top / name / "requirements.txt").write_text(text)
        for path in [top, *top.rglob("*")]:
            os.chown(path, user, user)

    def run(self, project: str, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        ids = [f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        before = ["setpriv", *ids] if self.user else []
        environment = {
            "HOME": str(self.top / "home"), "PATH": os.environ["PATH"], "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.links), "PIP_CONFIG_FILE": os.devnull, **more,
        }  # fmt: skip
        where = str(self.top / project)
        argv = [*before, str(BOOTUNION), "run", *self.options, "--project", where, "--", *command]
        return subprocess.run(argv, env=environment, cwd=self.top, capture_output=True, text=True,
                              check=False)  # fmt: skip

    def out(self, project: str, *command: str, **more: str) -> str:
        done = self.run(project, *command, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(params=[0, USER], ids=["root", "user"])
def room(request: pytest.FixtureRequest) -> Iterator[Room]:
    if request.param and (shutil.which("squashfuse") is None or not Path("/dev/fuse").exists()):
        pytest.skip("there is no squashfuse, or no FUSE in this kernel")
    with tempfile.TemporaryDirectory() as name:
        yield Room(Path(name), request.param)


def test_two_projects_see_two_versions_at_one_path(room: Room) -> None:
    code = "import demo; print(demo.VERSION, demo.__file__)"
    first = room.out("one", "python", "-c", code).split()
    second = room.out("two", "python3", "-c", code).split()
    assert (first[0], second[0]) == ("1.0", "2.0")
    assert first[1] == second[1]
    assert first[1].startswith("/usr/local/lib/")
    assert room.out("one", "say-version") == "1.0"


def test_nothing_else_is_seen(room: Room) -> None:
    user_site = room.top / "home/.local/lib/python3.11/site-packages"
    user_site.mkdir(parents=True)
    (user_site / "stray.py").write_text("")
    for module in ("yaml", "apt_pkg", "stray"):
        done = room.run("one", "python", "-c", f"import {module}")
        assert "ModuleNotFoundError" in done.stderr, module
    assert room.out("one", "ls", "/usr/lib/python3/dist-packages") == ""
    assert room.out("one", "ls", "/usr/local") == "bin\nlib"
    argv = ["python", "-c", "import sys; print(sys.prefix, sys.executable)"]
    assert room.out("one", *argv) == "/usr /usr/local/bin/python"


def test_the_systems_packages_are_seen_when_they_are_asked_for(room: Room) -> None:
    (room.top / "one/bootunion.yaml").write_text("system-packages: true\n")
    assert room.out("one", "ls", "/usr/lib/python3/dist-packages") != ""


def test_an_active_virtual_environment_does_not_lead_elsewhere(room: Room) -> None:
    path = f"{BOOTUNION.parent}:{os.environ['PATH']}"
    more = {"PATH": path, "VIRTUAL_ENV": str(BOOTUNION.parents[1])}
    assert room.out("one", "python", "-c", "import demo; print(demo.VERSION)", **more) == "1.0"


def test_the_exit_status_and_a_refusal(room: Room) -> None:
    assert room.run("one", "python", "-c", "raise SystemExit(7)").returncode == 7
    (room.top / "one/requirements.txt").write_text("demo==1.0\n")
    done = room.run("one", "true")
    assert done.returncode == 125
    assert "[hashes-missing]" in done.stderr


@pytest.mark.parametrize("name", ["python-project", "second-project"])
def test_the_examples_own_tests_run(name: str) -> None:
    wheelmaking.real("idna==3.20")  # skips where pip gets nothing
    environment = {**os.environ, "XDG_CACHE_HOME": str(wheelmaking.REAL / "home")}
    argv = [str(BOOTUNION), "run", "--project", ".", "--", "python", "-m", "pytest", "-q",
            "-p", "no:cacheprovider"]  # fmt: skip
    # pip's own file stays in effect beside another XDG_CONFIG_HOME.
    environment["PIP_CONFIG_FILE"] = str(Path.home() / ".config/pip/pip.conf")
    environment["XDG_CONFIG_HOME"] = str(wheelmaking.REAL / "config")
    done = subprocess.run(argv, cwd=TOP / "examples" / name, env=environment, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
