"""Preparing a project: what is cached, what comes from where, and what is refused."""

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wheelmaking
from test_fetch import Handler, Server
from wheelmaking import sha256, wheel

from bootunion import dsse, trust
from bootunion.errors import BootunionError
from bootunion.host import projects, reading, signing
from bootunion.host.projects import Prepared
from bootunion.host.store import Store

TOP = Path(__file__).resolve().parents[1]


class Desk:
    """A user with a home, and a project."""

    def __init__(self, top: Path) -> None:
        self.top, self.home, self.project = top, top / "home", top / "project"
        self.links = top / "links"
        for directory in (self.home, self.project, self.links):
            directory.mkdir()
        self.environment = {
            "HOME": str(self.home), "PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.links), "PIP_TIMEOUT": "5",
        }  # fmt: skip
        self.cache = self.home / ".cache/bootunion"
        self.config = self.home / ".config/bootunion"

    def make(self, name: str, version: str = "1.0", *, requires: tuple[str, ...] = (),
             value: str = "", tag: str = "py3-none-any") -> Path:  # fmt: skip
        files = {f"{name}.py": f"VERSION = {value or version!r}\n".encode()}
        return wheel(self.links, files, name=name, version=version, requires=requires, tag=tag)

    def lock(self, *wheels: Path, project: Path | None = None) -> None:
        lines = []
        for one in wheels:
            name, version = one.name.split("-")[:2]
            lines.append(f"{name}=={version} --hash=sha256:{sha256(one)}\n")
        ((project or self.project) / "requirements.txt").write_text("".join(lines))

    def prepare(self, project: Path | None = None, **environment: str) -> Prepared:
        found = {**self.environment, **environment}
        return projects.prepare(project or self.project, environment=found)

    def memory(self) -> Path:
        """The file that remembers the one project there is, by its directory."""
        (found,) = (path for path in (self.cache / "projects").iterdir()
                    if not path.name.startswith("content-"))  # fmt: skip
        return found

    def refusal(self, **environment: str) -> BootunionError:
        with pytest.raises(BootunionError) as caught:
            self.prepare(**environment)
        packages = self.cache / "packages"
        assert not packages.is_dir() or not [
            one for one in packages.iterdir() if one.name[0] == "."
        ]
        return caught.value


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def names(prepared: Prepared) -> list[str]:
    return [f"{one.name} {one.version}" for one in prepared.layers if one.name.startswith("wheel-")]


@contextlib.contextmanager
def index(desk: Desk) -> Iterator[Server]:
    """A web server with a simple index, HTML and JSON; wheels below /files."""
    tree = desk.top / "web"
    (tree / "files").mkdir(parents=True)
    server = Server(tree)
    desk.environment |= {"PIP_NO_INDEX": "", "PIP_INDEX_URL": f"{server.url}/simple",
                         "PIP_FIND_LINKS": ""}  # fmt: skip
    try:
        yield server
    finally:
        server.shutdown()


def page(server: Server, project: str, *wheels: Path, digests: bool = True, **lies: str) -> None:
    """Put a project's page, and the wheels, on the server: as HTML."""
    links = ""
    for one in wheels:
        (server.tree / "files" / one.name).write_bytes(one.read_bytes())
        mark = f"#sha256={lies.get('digest') or sha256(one)}" if digests else ""
        links += f'<a href="../../files/{one.name}{mark}">{one.name}</a>\n'
    place = server.tree / "simple" / project
    place.mkdir(parents=True, exist_ok=True)
    (place / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
    server.spoil = serve_index


def serve_index(handler: Handler, file: Path) -> bool:
    if file.is_dir() and handler.path.endswith("/"):
        found = [file / "index.json", file / "index.html"]
        handler.give(next(one for one in found if one.exists()).read_bytes())
        return True
    return False


def test_a_project_is_prepared_and_remembered(desk: Desk) -> None:
    desk.lock(desk.make("one"), desk.make("two", "2.0", requires=("one",)))
    made = desk.prepare()
    assert names(made) == ["wheel-one 1.0", "wheel-two 2.0"]
    assert made.stores == (str(desk.cache),)
    assert made.trees[0].path == "/usr/local"
    assert made.trees[0].layers == tuple(range(len(made.layers)))
    assert not made.trees[0].below
    assert "/usr/lib/python3/dist-packages" in made.hidden
    assert made.environment["PATH"].split(":")[0] == "/usr/local/bin"
    assert made.environment["PYTHONNOUSERSITE"] == "1"
    assert projects.recall(desk.project, desk.environment) is not None
    assert desk.prepare() == made
    for wheel_file in desk.links.iterdir():
        wheel_file.unlink()
    assert desk.prepare() == made


def test_a_warm_start_loads_nothing_that_preparing_needs(desk: Desk) -> None:
    desk.lock(desk.make("one"))
    desk.prepare()
    code = (
        "import sys, pathlib\nfrom bootunion.host import projects\n"
        "projects.prepare(pathlib.Path(sys.argv[1]))\nprint(*sys.modules)"
    )
    argv = [sys.executable, "-c", code, desk.project]
    out = subprocess.run(argv, env=desk.environment, capture_output=True, text=True, check=True)
    tops = {one.partition(".")[0] for one in out.stdout.split()}
    assert not tops & {"cryptography", "yaml", "packaging", "requests", "zstandard", "rich"}


def test_what_was_remembered_ends_with_any_change(desk: Desk) -> None:
    desk.lock(desk.make("one"))
    made = desk.prepare()
    recall = lambda: projects.recall(desk.project, desk.environment)  # noqa: E731
    (desk.project / "bootunion.yaml").write_text("system-packages: true\n")
    assert recall() is None
    assert desk.prepare().hidden == ()
    (desk.project / "bootunion.yaml").unlink()
    assert recall() is None
    assert desk.prepare() == made
    image = next((desk.cache / "packages").glob("wheel-one*.squashfs"))
    image.touch()
    assert recall() is None
    desk.prepare()
    image.unlink()
    assert recall() is None
    assert desk.prepare() == made
    assert image.exists()
    memory = desk.memory()
    memory.chmod(0o666)
    assert recall() is None
    memory.write_text("{")
    memory.chmod(0o600)
    assert recall() is None


def elsewhere(desk: Desk) -> Path:
    """Another directory with the project's files."""
    other = desk.top / "elsewhere"
    shutil.copytree(desk.project, other)
    return other


def loaded_by(desk: Desk, project: Path) -> set[str]:
    """The modules that preparing a project loads."""
    code = (
        "import sys, pathlib\nfrom bootunion.host import projects\n"
        "projects.prepare(pathlib.Path(sys.argv[1]))\nprint(*sys.modules)"
    )
    argv = [sys.executable, "-c", code, project]
    out = subprocess.run(argv, env=desk.environment, capture_output=True, text=True, check=True)
    return set(out.stdout.split())


def test_a_clone_elsewhere_is_what_was_prepared(desk: Desk) -> None:
    desk.lock(desk.make("one"))
    made = desk.prepare()
    other = elsewhere(desk)
    assert "bootunion.host.projects.preparing" not in loaded_by(desk, other)
    # From now on it is remembered by its directory, too.
    assert projects.recall(other, desk.environment) is not None
    assert desk.prepare(other) == made
    (other / "requirements.txt").write_text("")
    assert projects.recall(other, desk.environment) is None
    assert names(desk.prepare(other)) == []


def test_a_clone_is_prepared_anew_when_a_package_is_another(desk: Desk) -> None:
    desk.lock(desk.make("one"))
    desk.prepare()
    next((desk.cache / "packages").glob("wheel-one*.squashfs")).touch()
    assert "bootunion.host.projects.preparing" in loaded_by(desk, elsewhere(desk))


def test_what_depends_on_more_of_the_directory_is_not_a_clones(desk: Desk) -> None:
    wheel_file = desk.make("one")
    desk.lock(wheel_file)
    (desk.project / "requirements.txt").rename(desk.project / "more.txt")
    (desk.project / "requirements.txt").write_text("-r more.txt\n")
    assert names(desk.prepare()) == ["wheel-one 1.0"]
    other = elsewhere(desk)
    (other / "more.txt").write_text("")
    assert names(desk.prepare(other)) == []


def test_a_clones_memory_that_somebody_else_may_write_is_not_believed(desk: Desk) -> None:
    desk.lock(desk.make("one"))
    desk.prepare()
    (content,) = (desk.cache / "projects").glob("content-*")
    content.chmod(0o666)
    assert "bootunion.host.projects.preparing" in loaded_by(desk, elsewhere(desk))


def test_an_interpreter_is_asked_again_when_it_is_another(desk: Desk) -> None:
    desk.lock(desk.make("one"))
    desk.prepare()
    (answer,) = (desk.cache / "interpreters").iterdir()
    told = json.loads(answer.read_text())
    told["said"]["paths"]["scripts"] = "/usr/local/elsewhere"
    answer.write_text(json.dumps(told))
    desk.lock(desk.make("two"))
    assert desk.prepare().environment["PATH"].startswith("/usr/local/elsewhere:")
    told["depends"][0][1][2] += 1  # as if the program had another size
    answer.write_text(json.dumps(told))
    desk.lock(desk.make("three"))
    assert desk.prepare().environment["PATH"].startswith("/usr/local/bin:")


def test_a_new_version_is_taken_and_the_rest_is_shared(desk: Desk) -> None:
    one, two = desk.make("one"), desk.make("two")
    desk.lock(one, two)
    desk.prepare()
    other = desk.top / "other"
    other.mkdir()
    desk.lock(one, desk.make("two", "2.0"), project=other)
    before = {path.name for path in (desk.cache / "packages").glob("*.squashfs")}
    assert names(desk.prepare(other)) == ["wheel-one 1.0", "wheel-two 2.0"]
    after = {path.name for path in (desk.cache / "packages").glob("*.squashfs")}
    assert [name.split("_")[:2] for name in after - before] == [["wheel-two", "2.0"]]
    assert names(desk.prepare()) == ["wheel-one 1.0", "wheel-two 1.0"]


def test_the_key_is_the_users_own_and_signs_packages_only(desk: Desk) -> None:
    desk.lock(desk.make("one"))
    layer = desk.prepare().layers[-1]
    assert stat.S_IMODE((desk.config / "package.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in desk.config.iterdir()) == [
        "package.key", "package.pub", "trust"]  # fmt: skip
    trusted = signing.read_trust(desk.config / "trust", desk.cache)
    assert reading.signed_manifest(Store(desk.cache), trusted, layer.stem).name == "wheel-one"
    assert set(trusted.counting(trust.ROLE_PACKAGE)).isdisjoint(trusted.counting(trust.ROLE_LIST))
    before = (desk.config / "package.key").read_bytes()
    desk.lock(desk.make("two"))
    desk.prepare()
    assert (desk.config / "package.key").read_bytes() == before


def test_a_package_that_another_key_signed_is_made_anew(desk: Desk, keys: Path) -> None:
    desk.lock(desk.make("one"))
    desk.prepare()
    manifest = next((desk.cache / "packages").glob("wheel-one*.json"))
    envelope = json.loads(manifest.read_text())
    payload = dsse.decode(manifest.read_bytes(), subject="x")
    signer = signing.Signer(keys / "package.key")
    manifest.write_bytes(signer(payload.payload, payload.payload_type))
    for remembered in (desk.cache / "projects").iterdir():
        remembered.unlink()
    desk.prepare()
    assert json.loads(manifest.read_text()) == envelope


def test_the_best_wheel_is_chosen(desk: Desk) -> None:
    plain, better = (
        desk.make("one", value="plain"),
        desk.make("one", tag="cp311-none-any", value="x"),
    )
    newer = desk.make("one", tag="cp39-abi3-manylinux_2_5_x86_64", value="y")
    foreign = desk.make("one", tag="cp312-cp312-win_amd64", value="z")
    hashes = " ".join(f"--hash=sha256:{sha256(one)}" for one in (plain, better, newer, foreign))
    (desk.project / "requirements.txt").write_text(f"one==1.0 {hashes}\n")
    store = Store(desk.cache)
    layer = desk.prepare().layers[-1]
    trusted = signing.read_trust(desk.config / "trust", desk.cache)
    source = reading.signed_manifest(store, trusted, layer.stem).source
    # As pip ranks them: an ABI of this interpreter before no ABI.
    assert source.file == (newer.name if os.uname().machine == "x86_64" else better.name)


def test_two_projects_are_prepared_at_once(desk: Desk) -> None:
    desk.lock(desk.make("one"), desk.make("two"), desk.make("three"))
    other = desk.top / "other"
    other.mkdir()
    desk.lock(*desk.links.iterdir(), project=other)
    code = ("import sys, pathlib\nfrom bootunion.host import projects\n"
            "print(len(projects.prepare(pathlib.Path(sys.argv[1])).layers))")  # fmt: skip
    both = [
        subprocess.Popen([sys.executable, "-c", code, where], env=desk.environment,
                         stdout=subprocess.PIPE, text=True)
        for where in (desk.project, other)
    ]  # fmt: skip
    assert [one.communicate()[0] for one in both] == ["4\n", "4\n"]


def test_an_index_of_html(desk: Desk) -> None:
    one = desk.make("one_x")
    desk.lock(one)
    with index(desk) as server:
        page(server, "one-x", one)
        assert names(desk.prepare()) == ["wheel-one-x 1.0"]
        assert any(path.startswith("/simple/one-x/") for path in server.asked)


def test_an_index_of_json(desk: Desk) -> None:
    one = desk.make("one")
    desk.lock(one)
    with index(desk) as server:
        page(server, "one", one)
        (server.tree / "simple/one/index.json").write_text(json.dumps({
            "meta": {"api-version": "1.0"}, "name": "one",
            "files": [{"filename": one.name, "url": f"/files/{one.name}",
                       "size": one.stat().st_size,
                       "hashes": {"sha256": sha256(one)}}],
        }))  # fmt: skip
        assert names(desk.prepare()) == ["wheel-one 1.0"]


def test_an_index_without_digests(desk: Desk) -> None:
    one = desk.make("one")
    desk.lock(one)
    with index(desk) as server:
        page(server, "one", one, digests=False)
        assert names(desk.prepare()) == ["wheel-one 1.0"]


def test_an_index_in_a_directory(desk: Desk) -> None:
    one = desk.make("one")
    desk.lock(one)
    with index(desk) as server:
        page(server, "one", one)
        url = (server.tree / "simple").as_uri()
        desk.environment["PIP_EXTRA_INDEX_URL"] = url
        server.spoil = lambda handler, _: bool(handler.send_error(404)) or True
        assert names(desk.prepare()) == ["wheel-one 1.0"]


def test_the_projects_own_index_is_asked_in_the_place_of_pips(desk: Desk) -> None:
    one = desk.make("one")
    desk.lock(one)
    with index(desk) as server:
        page(server, "one", one)
        desk.environment["PIP_INDEX_URL"] = "http://127.0.0.1:1/simple"
        yaml = desk.project / "bootunion.yaml"
        yaml.write_text(f"index: {server.url}/simple\n")
        assert names(desk.prepare()) == ["wheel-one 1.0"]


def test_an_index_that_lies_about_a_digest_gets_nothing_in(desk: Desk) -> None:
    one, evil = desk.make("one"), desk.top / "evil"
    desk.lock(one)
    evil.mkdir()
    other = wheel(evil, {"one.py": b"import evil\n"}, name="one")
    with index(desk) as server:
        page(server, "one", other, digest=sha256(one))
        error = desk.refusal()
    assert (error.code, error.status) == ("hash-mismatch", 4)
    assert sha256(other) in str(error)


def test_an_index_whose_digest_is_another_one_is_passed_over(desk: Desk) -> None:
    one = desk.make("one")
    desk.lock(one)
    with index(desk) as server:
        page(server, "one", one, digest="0" * 64)
        assert desk.refusal().code == "wheel-missing"
        assert not any("files" in path for path in server.asked)
        desk.environment["PIP_FIND_LINKS"] = str(desk.links)
        assert names(desk.prepare()) == ["wheel-one 1.0"]


def test_the_next_source_has_it_right(desk: Desk) -> None:
    one = desk.make("one")
    desk.lock(one)
    bad = desk.top / "bad"
    bad.mkdir()
    wheel(bad, {"one.py": b"import evil\n"}, name="one")
    desk.environment["PIP_FIND_LINKS"] = f"{bad} {desk.links}"
    assert names(desk.prepare()) == ["wheel-one 1.0"]


def drop_first(server: Server) -> None:
    """Break off once in the middle of each wheel."""
    seen: set[str] = set()

    def spoil(handler: Handler, file: Path) -> bool:
        if file.suffix == ".whl" and handler.path not in seen:
            seen.add(handler.path)
            data = file.read_bytes()
            handler.give(data, most=len(data) // 2)
            return True
        return serve_index(handler, file)

    server.spoil = spoil


@pytest.mark.parametrize("ranges", [True, False])
def test_a_server_that_breaks_off_is_asked_again(desk: Desk, ranges: bool) -> None:
    one = desk.make("one")
    desk.lock(one)
    with index(desk) as server:
        page(server, "one", one)
        server.ranges = ranges
        drop_first(server)
        assert names(desk.prepare()) == ["wheel-one 1.0"]
        assert sum(path.endswith(".whl") for path in server.asked) == 2


@pytest.mark.parametrize(
    "answer", [b"{", b'{"files": 1}', b'{"files": [{"filename": 1}]}', b"\xff\xfe"]
)
def test_a_page_that_is_none_is_told(desk: Desk, answer: bytes) -> None:
    desk.lock(desk.make("one"))
    with index(desk) as server:
        server.spoil = lambda handler, _: handler.give(answer) is None
        error = desk.refusal()
    assert error.code == "wheel-missing"


def test_a_page_that_does_not_end_is_left(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from bootunion.host.projects import indexes

    monkeypatch.setattr(indexes, "_MOST_PAGE", 1000)
    desk.lock(desk.make("one"))
    with index(desk) as server:
        server.spoil = lambda handler, _: handler.give(b" " * 5000) is None
        assert "more than 1000 bytes" in str(desk.refusal())


def test_several_refusals_are_told_at_once(desk: Desk) -> None:
    desk.lock(desk.make("one"), desk.make("two"))
    for path in desk.links.iterdir():
        path.unlink()
    error = desk.refusal()
    assert error.code == "wheel-missing"
    assert "one==1.0" in str(error)
    assert "two==1.0" in str(error)


def test_only_a_source_distribution_is_refused_with_a_way_out(desk: Desk) -> None:
    (desk.project / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "one"\nversion = "1"\n'
        f'[packages.sdist]\nname = "one-1.tar.gz"\nhashes = {{sha256 = "{"a" * 64}"}}\n'
    )
    error = desk.refusal()
    assert error.code == "sdist-only"
    assert "pip wheel" in error.way_out


def test_wheels_for_others_only_are_told_as_such(desk: Desk) -> None:
    desk.lock(desk.make("one", tag="cp312-cp312-win_amd64"))
    assert desk.refusal().code == "wheel-missing"
    page_ = desk.make("two", tag="cp312-cp312-win_amd64")
    desk.lock(page_)
    with index(desk) as server:
        page(server, "two", page_)
        assert desk.refusal().code == "wheel-unfit"


def test_requirements_that_lack_one_are_refused(desk: Desk) -> None:
    desk.lock(desk.make("one", requires=("idna", "never; python_version < '3'")))
    error = desk.refusal()
    assert error.code == "requirements-incomplete"
    assert "idna (for one)" in str(error)


def test_a_hostile_wheel_with_the_right_digest_is_refused(desk: Desk) -> None:
    desk.lock(wheel(desk.links, {"../evil.py": b""}, name="one"))
    assert desk.refusal().code == "wheel-invalid"


def test_names_of_the_interpreter_lead_to_it(desk: Desk) -> None:
    desk.lock(desk.make("one"))
    made = desk.prepare()
    layer = next(one for one in made.layers if one.name == "project-python")
    argv = ["unsquashfs", "-ll", desk.cache / "packages" / layer.file_name]
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    for name in ("python", "python3"):
        assert f"usr/local/bin/{name} -> /usr/bin/python3." in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_half(desk: Desk, number: int) -> None:
    wheels = []
    for name in ("one", "two", "three", "four"):
        files = {f"{name}/m{at}.py": b"x = [1, 2]\n" * 200 for at in range(200)}
        wheels.append(wheel(desk.links, files, name=name))
    desk.lock(*wheels)
    code = ("import sys, pathlib\nfrom bootunion.host import interrupts, projects\n"
            "interrupts.catch(interrupts.interrupt)\n"
            "projects.prepare(pathlib.Path(sys.argv[1]))")  # fmt: skip
    child = subprocess.Popen([sys.executable, "-c", code, desk.project], env=desk.environment,
                             stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
    packages = desk.cache / "packages"
    while child.poll() is None and not (packages.is_dir() and list(packages.glob(".new-*"))):
        time.sleep(0.01)
    os.killpg(child.pid, number)
    said = child.communicate()[1]
    assert "KeyboardInterrupt" in said
    assert list(packages.glob(".*")) == []
    assert len(desk.prepare().layers) == 5


def test_root_of_another_home_believes_no_memory_of_a_user(desk: Desk) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    desk.lock(desk.make("one"))
    desk.prepare()
    memory = desk.memory()
    os.chown(memory, 12345, 12345)
    assert projects.recall(desk.project, desk.environment) is None


def example(name: str, environment: dict[str, str]) -> Any:
    wheelmaking.real("idna==3.20")  # skips where pip gets nothing
    return projects.prepare(TOP / "examples" / name, environment={**os.environ, **environment})


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    top = tmp_path_factory.mktemp("home")
    return {"XDG_CACHE_HOME": str(top / "cache"), "XDG_CONFIG_HOME": str(top / "config")}


def test_the_examples_share_what_is_equal(home: dict[str, str]) -> None:
    # pip's configuration is read from XDG_CONFIG_HOME, too: the machine's stays in effect.
    own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pip/pip.conf"
    if own.exists():
        place = Path(home["XDG_CONFIG_HOME"]) / "pip/pip.conf"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(own.read_bytes())
    first = example("python-project", home)
    second = example("second-project", home)
    assert len(first.layers) == 21
    by_name = {one.name: one for one in first.layers}
    shared = [one.name for one in second.layers if by_name.get(one.name) == one]
    other = [one.name for one in second.layers if one.name in by_name and one.name not in shared]
    assert len(shared) >= 14
    assert other == ["wheel-numpy", "wheel-requests"]
