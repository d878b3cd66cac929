"""A wheel becomes a package: what is where, what runs, and what it says of itself."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import wheelmaking
from composing import BOOTUNION
from packaging.requirements import Requirement
from packaging.version import Version
from wheelmaking import wheel

from bootunion import versions as ordering
from bootunion.errors import BootunionError
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.host.wheels import importing, interpreter, launchers, versions
from bootunion.manifest import Manifest

PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="session")
def python() -> interpreter.Interpreter:
    return interpreter.ask(PYTHON)


class Shop:
    """Imports wheels, and gives the packages' files."""

    def __init__(self, store: Store, signer: Signer, python: interpreter.Interpreter) -> None:
        self.store, self.signer, self.python = store, signer, python

    def take(self, path: Path) -> Manifest:
        return importing.import_wheel(path, self.store.path, self.signer, self.python)

    def files(self, made: Manifest) -> dict[str, int]:
        return {one.path: one.mode for one in self.store.entries(made) if one.type != "directory"}

    def unpack(self, made: Manifest, where: Path) -> Path:
        argv = ["unsquashfs", "-q", "-n", "-f", "-d", where, self.store.packages / made.file_name]
        subprocess.run(argv, check=True, capture_output=True)
        return where


@pytest.fixture
def shop(store: Store, signer: Signer, python: interpreter.Interpreter) -> Shop:
    return Shop(store, signer, python)


@pytest.fixture
def site(python: interpreter.Interpreter) -> str:
    return python.layout.purelib


def executable(info: object) -> None:
    info.external_attr = 0o100755 << 16  # type: ignore[attr-defined]


def test_each_part_of_a_wheel_has_its_place(shop: Shop, tmp_path: Path, site: str) -> None:
    data = "demo-1.0.data"
    path = wheel(tmp_path, {
        "demo/__init__.py": b"", "demo/tool.sh": b"#!/bin/sh\n", "demo/data.bin": bytes(10),
        f"{data}/scripts/shell": b"#!/bin/sh\necho hello\n",
        f"{data}/data/share/man/man1/demo.1": b".",
        f"{data}/headers/demo.h": b"int x;", f"{data}/purelib/pure.py": b"",
        f"{data}/platlib/plat.py": b"",
    }, change={"demo/tool.sh": executable})  # fmt: skip
    files = shop.files(shop.take(path))
    tag = shop.python.layout.cache_tag
    headers = shop.python.layout.headers
    assert files == {
        f"{site}/demo/__init__.py": 0o644, f"{site}/demo/__pycache__/__init__.{tag}.pyc": 0o644,
        f"{site}/demo/tool.sh": 0o755, f"{site}/demo/data.bin": 0o644,
        "usr/local/bin/shell": 0o755, "usr/local/share/man/man1/demo.1": 0o644,
        f"{headers}/demo/demo.h": 0o644, f"{site}/pure.py": 0o644, f"{site}/plat.py": 0o644,
        f"{site}/__pycache__/pure.{tag}.pyc": 0o644, f"{site}/__pycache__/plat.{tag}.pyc": 0o644,
        **{f"{site}/demo-1.0.dist-info/{name}": 0o644
           for name in ("METADATA", "WHEEL", "RECORD", "INSTALLER")},
    }  # fmt: skip


def test_entry_points_and_scripts_run(shop: Shop, tmp_path: Path, site: str) -> None:
    points = (b"[console_scripts]\ngreet = demo:Main.say [extra]\n"
              b"[gui_scripts]\nwin=demo:fail\n[other]\nx=y\n")  # fmt: skip
    path = wheel(tmp_path, {
        "demo.py": b"import sys\nclass Main:\n  @staticmethod\n  def say():\n"
                   b"    print(sys.argv[1])\n"
                   b"def fail():\n  return 7\n",
        "demo-1.0.dist-info/entry_points.txt": points,
        "demo-1.0.data/scripts/old": b"#!python\nimport demo; demo.Main.say()\n",
    })  # fmt: skip
    root = shop.unpack(shop.take(path), tmp_path / "root")
    env = {"PYTHONPATH": str(root / site), "PATH": "/usr/bin"}

    def run(name: str) -> tuple[int, str]:
        program = root / "usr/local/bin" / name
        assert program.read_text().startswith(f"#!{shop.python.layout.python}\n")
        done = subprocess.run(
            [program, "hello"], env=env, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout

    assert run("greet") == (0, "hello\n")
    assert run("old") == (0, "hello\n")
    assert run("win")[0] == 7


@pytest.mark.parametrize("points", [
    b"[console_scripts]\n../x = demo:f", b"[console_scripts]\nx = demo",
    b"[console_scripts]\nx = a b:c;d",
    b"[console_scripts]\nx = os:system('id')", b"no section", b"\xff",
    b"[console_scripts]\n.. = demo:f",
])  # fmt: skip
def test_an_entry_point_that_names_no_function_is_refused(points: bytes) -> None:
    with pytest.raises(BootunionError, match="entry") as caught:
        list(launchers.launchers(points, PYTHON, "demo"))
    assert caught.value.code == "wheel-invalid"


def test_the_interpreter_takes_the_compiled_modules(shop: Shop, tmp_path: Path, site: str) -> None:
    path = wheel(
        tmp_path, {"demo.py": b"def f():\n    raise ValueError\n", "broken.py": b"def (:\n"}
    )
    root = shop.unpack(shop.take(path), tmp_path / "root")
    pyc = next((root / site / "__pycache__").glob("demo.*.pyc"))
    assert pyc.read_bytes()[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(pyc.read_bytes()[4:8], "little") == 0b01  # PEP 552: hashed, unchecked
    (root / site / "demo.py").write_text("VALUE = 'changed'\n")  # is not looked at
    code = "import demo; print(demo.__cached__, demo.f.__code__.co_filename)"
    argv = [PYTHON, "-S", "-c", code]
    env = {"PYTHONPATH": str(root / site)}
    out = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout
    assert out.split() == [str(pyc), str(root / site / "demo.py")]
    assert not list((root / site / "__pycache__").glob("broken*"))


def test_the_record_is_that_of_what_is_installed(shop: Shop, tmp_path: Path, site: str) -> None:
    path = wheel(
        tmp_path, {"demo.py": b"x = 1\n", "demo-1.0.data/scripts/old": b"#!python\npass\n"}
    )
    root = shop.unpack(shop.take(path), tmp_path / "root")
    code = (
        "import importlib.metadata as m, hashlib, base64\n"
        "files = m.distribution('demo').files\n"
        "for f in files:\n"
        "    data = f.locate().read_bytes()\n"
        "    if f.hash:\n"
        "        raw = hashlib.new(f.hash.mode, data).digest()\n"
        "        assert base64.urlsafe_b64encode(raw).decode().rstrip('=') == f.hash.value, f\n"
        "        assert f.size == len(data), f\n"
        "print(len(files), sum(1 for f in files if f.hash))\n"
        "print(m.distribution('demo').read_text('INSTALLER'))"
    )
    env = {"PYTHONPATH": str(root / site)}
    out = subprocess.run(
        [PYTHON, "-S", "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == ["7", "5", "bootunion"]


def test_the_same_wheel_is_the_same_package(
    shop: Shop, tmp_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = b"A = {1, 'x%d'}\ndef f(a): return a in {'p', 'q', 'r'}\n"
    files = {f"demo/m{number}.py": code % number for number in range(30)}
    one = shop.take(wheel(tmp_path, files))
    (tmp_path / "other").mkdir()
    again = wheel(tmp_path / "other", dict(reversed(files.items())))
    monkeypatch.setenv("PYTHONHASHSEED", "77")
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    old = os.umask(0o077)
    try:
        other = Shop(
            Store(tmp_path / "else").create(), signer, interpreter.ask("/usr/bin/python3.11")
        )
        two = other.take(again)
    finally:
        os.umask(old)
    assert one.image.root_hash == two.image.root_hash


def test_the_manifest_says_what_the_metadata_says(shop: Shop, tmp_path: Path) -> None:
    needs = (
        "Other_Thing>=1.0.0,<2",
        "never; python_version < '3'",
        "socks; extra == 'socks'",
        "plain",
    )
    path = wheel(tmp_path, name="Demo.X", version="1!2.0rc1+cpu", requires=needs)
    made = shop.take(path)
    assert (made.name, made.version, made.architecture) == ("wheel-demo-x", "1:2.0~rc1+cpu", "all")
    assert made.depends == ("wheel-other-thing (<< 2)", "wheel-other-thing (>= 1)", "wheel-plain")
    assert made.source == ("wheel", path.name, wheelmaking.sha256(path))
    assert made.description == "made for a test"


def test_a_compiled_wheel_has_an_architecture(shop: Shop, tmp_path: Path) -> None:
    tag = next(one for one in shop.python.tags if "manylinux" in one)
    made = shop.take(wheel(tmp_path, {"x.so": b"\x7fELF"}, tag=tag, pure=False))
    assert made.architecture == {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


@pytest.mark.parametrize(
    "tag", ["cp27-cp27m-manylinux1_x86_64", "py3-none-win_amd64", "cp311-cp311-macosx_11_0_arm64"]
)
def test_a_wheel_for_another_machine_is_refused(shop: Shop, tmp_path: Path, tag: str) -> None:
    with pytest.raises(BootunionError) as caught:
        shop.take(wheel(tmp_path, tag=tag))
    assert caught.value.code == "wheel-unfit"


def test_a_wheel_for_a_newer_python_is_refused(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(BootunionError, match="asks for Python") as caught:
        shop.take(wheel(tmp_path, metadata="Requires-Python: >=3.99\n"))
    assert caught.value.code == "wheel-unfit"


ORDERED = ["0.9", "1.0.dev1", "1.0a1.dev1", "1.0a1", "1.0a2.post1", "1.0b1", "1.0rc1", "1.0",
           "1.0+cpu",
           "1.0.post1.dev1", "1.0.post1", "1.0.1", "1.1", "1.10", "1!0.1"]  # fmt: skip


def test_versions_keep_their_order() -> None:
    assert sorted(ORDERED, key=Version) == ORDERED
    mapped = [versions.package_version(Version(one)) for one in ORDERED]
    assert mapped == sorted(mapped, key=ordering.key)
    assert len(set(mapped)) == len(mapped)


@pytest.mark.parametrize("text", ["x>=1.0.0", "x<=2.0", "x<1.0", "x>1.0", "x==1.0", "x==1.0.*",
                                  "x~=1.0.0",
                                  "x~=1.0", "x==1.0.0", "x>=1.0rc1", "x<2"])  # fmt: skip
def test_a_relation_is_met_by_each_version_that_the_requirement_takes(text: str) -> None:
    requirement = Requirement(text)
    wanted = [
        re.fullmatch(r"wheel-x \((\S+) (\S+)\)", one) for one in versions.relations(requirement)
    ]
    compare = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, "<<": lambda a, b: a < b,
               ">>": lambda a, b: a > b}  # fmt: skip
    for one in ORDERED:
        here = ordering.key(versions.package_version(Version(one)))
        met = all(compare[sign[1]](here, ordering.key(sign[2])) for sign in wanted if sign)
        if requirement.specifier.contains(one, prereleases=True):
            assert met, one
        elif (
            not Version(one).is_prerelease
            and not Version(one).is_postrelease
            and not Version(one).local
        ):
            assert not met, one


def test_the_command_imports_good_files_and_names_bad_ones(tmp_path: Path, keys: Path) -> None:
    good, bad = wheel(tmp_path), tmp_path / "bad-1.0-py3-none-any.whl"
    bad.write_bytes(b"no zip")
    argv = [BOOTUNION, "import", "wheel", good, bad, "--json", "--store", tmp_path / "s",
            "--package-key", keys / "package.key"]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    said = json.loads(done.stdout)
    assert [one["name"] for one in said["packages"]] == ["wheel-demo"]
    assert [one["code"] for one in said["refused"]] == ["wheel-invalid"]
    assert done.returncode == 3


def test_an_interpreter_of_a_virtual_environment_is_refused() -> None:
    with pytest.raises(BootunionError, match="virtual environment") as caught:
        interpreter.ask(sys.executable)
    assert caught.value.code == "python-unfit"


def test_a_program_that_is_no_python_is_refused() -> None:
    with pytest.raises(BootunionError) as caught:
        interpreter.ask("/usr/bin/env")
    assert caught.value.code == "python-unfit"
    with pytest.raises(BootunionError) as caught:
        interpreter.ask("/bin/echo")
    assert caught.value.code == "python-unfit"


REAL = ("numpy==2.2.6", "cryptography==50.0.2", "lxml==6.1.3", "jinja2==3.1.6", "pytest==9.2.0",
        "pyyaml==6.0.3", "charset-normalizer==3.5.2")  # fmt: skip


@pytest.mark.parametrize("spec", REAL)
def test_a_package_is_what_pip_would_have_installed(
    shop: Shop, tmp_path: Path, spec: str, site: str
) -> None:
    (path,) = wheelmaking.real(spec)
    root = shop.unpack(shop.take(path), tmp_path / "ours")
    argv = [sys.executable, "-m", "pip", "--python", PYTHON, "install", "-q", "--no-deps",
            "--no-index",
            "--no-compile", "--ignore-installed", "--root", tmp_path / "pip", path]  # fmt: skip
    env = {**os.environ, "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours, pips = tree(root), tree(tmp_path / "pip")
    assert set(ours) == set(pips)
    different = {name for name in ours if ours[name] != pips[name]}
    assert all(name.startswith("usr/local/bin/") for name in different), different


def tree(root: Path) -> dict[str, tuple[bool, bytes]]:
    """Files with their bytes and whether they may be run; without what each installer notes."""
    return {
        str(path.relative_to(root)): (bool(path.stat().st_mode & 0o111), path.read_bytes())
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        and path.name not in ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")
    }  # fmt: skip
