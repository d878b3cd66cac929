"""`bootunion run --project` beside `--list`, `--with`, `--without` and `--pure`."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import test_project_run
from composing import needs_root
from test_plan_command import Desk
from test_project_run import USER
from test_run import LIBRARY, leaving_nothing

from bootunion.manifest import Manifest

pytestmark = needs_root
VERSION = ("python", "-c", "import demo; print(demo.VERSION)")
PYTHON = "/usr/bin/python3"
# What the interpreter itself loads, without what others put beside it (-S).
STARTED = """
import os, sys
print(*(one.__file__ for one in list(sys.modules.values()) if getattr(one, "__file__", "")))
"""


class Room(test_project_run.Room):
    """Two projects and, beside them, a store with two versions of a library."""

    def __init__(self, top: Path, user: int, keys: Path) -> None:
        super().__init__(top, user)
        shutil.copytree(keys, top / "keys")
        for directory in (top, top / "keys", top / "keys/trust"):
            directory.chmod(0o755)
        self.desk = Desk(top, top / "keys")
        self.library = {
            version: self.desk.package("libdemo", version, **{LIBRARY: version, **more})
            for version, more in (("1", {"usr/local/share/of-a-package": ""}), ("2", {}))
        }
        self.tool = self.desk.package("tool", "1", **{"usr/lib/demo/tool": "tool"})
        self.ask()

    def ask(self, *words: str) -> None:
        """Say the options of the runs that follow."""
        where = ("--store", str(self.desk.store.path), "--trust", str(self.desk.keys / "trust"))
        self.options = (*where, *words)

    def refused(self, code: str, *words: str) -> str:
        self.ask(*words)
        done = self.run("one", "true")
        assert done.returncode == 125 and f"[{code}]" in done.stderr, done.stderr
        return done.stderr

    def python(self) -> Manifest:
        """A package with the machine's interpreter, its libraries and what it loads to start."""
        tree = self.desk.top / "python-1"
        said = subprocess.check_output(["ldd", PYTHON], text=True).split()
        loaded = subprocess.check_output([PYTHON, "-I", "-S", "-c", STARTED], text=True).split()
        real = os.path.realpath(PYTHON)
        for path in {real, *loaded, *(word for word in said if word.startswith("/"))}:
            copy(path, tree)
        for name in ("lib", "lib64", "bin"):
            (tree / name).symlink_to(f"usr/{name}")
        (tree / PYTHON[1:]).symlink_to(os.path.basename(real))
        # It looks for this place beside its library, and says when it is not there.
        (tree / f"usr/lib/{os.path.basename(real)}/lib-dynload").mkdir()
        return self.desk.tree("python", "1", tree)


def copy(path: str, tree: Path) -> None:
    """Put a file where it is, on a machine whose /usr is merged."""
    place = path if path.startswith("/usr/") else f"/usr{path}"
    target = tree / place[1:]
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)


@pytest.fixture(params=[0, USER], ids=["root", "user"])
def room(request: pytest.FixtureRequest, keys: Path) -> Iterator[Room]:
    if request.param and (shutil.which("squashfuse") is None or not Path("/dev/fuse").exists()):
        pytest.skip("there is no squashfuse, or no FUSE in this kernel")
    with tempfile.TemporaryDirectory() as name:
        yield Room(Path(name), request.param, keys)


def test_packages_beside_a_project(room: Room) -> None:
    with leaving_nothing():
        for version in ("1", "2"):
            room.ask("--with", f"libdemo={version}")
            assert room.out("one", "cat", f"/{LIBRARY}") == version
            assert room.out("two", *VERSION) == "2.0"
            # /usr/local is the project's alone.
            assert room.out("one", "ls", "/usr/local") == "bin\nlib"
    assert not Path("/", LIBRARY).exists()


def test_a_list_beside_a_project(room: Room) -> None:
    room.desk.list(room.library["1"], room.tool)
    room.ask("--list", "desk", "--with", "libdemo=2")
    with leaving_nothing():
        said = room.out("one", "cat", f"/{LIBRARY}", "/usr/lib/demo/tool")
        assert said == "2tool"
        assert room.out("one", *VERSION) == "1.0"


def test_what_is_left_out_of_the_list_and_what_cannot_be(room: Room) -> None:
    room.desk.list(room.library["1"], room.tool)
    room.ask("--list", "desk", "--without", "libdemo")
    assert room.out("one", "ls", "/usr/lib/demo") == "tool"
    assert room.out("one", *VERSION) == "1.0"
    # The project's own packages are on no list.
    room.refused("package-missing", "--list", "desk", "--without", "wheel-demo")
    room.refused("package-missing", "--without", "libdemo")
    room.refused("file-missing", "--list", "other")


def test_what_the_project_names_and_what_is_asked_for(room: Room) -> None:
    room.desk.list(room.library["1"], room.tool)
    room.desk.list(room.tool, name="other")
    (room.top / "one/bootunion.yaml").write_text("list: desk\n")
    (room.top / "two/bootunion.yaml").write_text("with: [libdemo=1]\n")
    assert room.out("one", "cat", f"/{LIBRARY}") == "1"
    room.ask("--list", "other")  # in the place of the project's
    assert room.out("one", "ls", "/usr/lib/demo") == "tool"
    assert room.out("two", "ls", "/usr/lib/demo") == "library\ntool"
    room.ask("--with", "tool")
    assert room.out("two", "cat", f"/{LIBRARY}", "/usr/lib/demo/tool") == "1tool"


def test_a_project_in_a_root_of_packages_alone(room: Room) -> None:
    room.desk.list(room.python(), room.library["2"])
    room.ask("--pure", "--list", "desk")
    code = f"""if True:
        import demo, os
        print(demo.VERSION, demo.__file__[:15], open("/{LIBRARY}").read())
        print(sorted(os.listdir("/usr/bin")), os.path.exists("/bin/sh"))
    """
    with leaving_nothing():
        said = room.out("one", "python", "-c", code)
        names = [os.path.basename(PYTHON), os.path.basename(os.path.realpath(PYTHON))]
        assert said == f"1.0 /usr/local/lib/ 2\n{names} False"
        assert room.out("two", *VERSION) == "2.0"
    assert "no package is left" in room.refused("package-missing", "--pure")


def test_a_change_of_the_project_or_of_the_list_is_seen(room: Room) -> None:
    room.desk.list(room.library["1"])
    room.ask("--list", "desk")
    code = ("python", "-c", f"import demo; print(demo.VERSION, open('/{LIBRARY}').read())")
    assert room.out("one", *code) == room.out("one", *code) == "1.0 1"
    room.desk.list(room.library["2"], generation=2)
    assert room.out("one", *code) == "1.0 2"
    shutil.copy(room.top / "two/requirements.txt", room.top / "one/requirements.txt")
    assert room.out("one", *code) == "2.0 2"
