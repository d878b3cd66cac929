"""What a project's files want: requirements.txt, pylock.toml, uv.lock, bootunion.yaml."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bootunion.errors import BootunionError
from bootunion.host import start
from bootunion.host.projects import pipconfig, pylock, requirements, settings, uvlock
from bootunion.host.projects.wanted import Read, Wanted

A, B = "a" * 64, "b" * 64
MARKERS = {
    "implementation_name": "cpython", "implementation_version": "3.11.2", "os_name": "posix",
    "platform_machine": "x86_64", "platform_release": "6.1", "platform_system": "Linux",
    "platform_version": "1", "python_full_version": "3.11.2",
    "platform_python_implementation": "CPython", "python_version": "3.11", "sys_platform": "linux",
}  # fmt: skip


def read(tmp_path: Path, text: str, **environment: str) -> Read:
    path = tmp_path / "requirements.txt"
    path.write_text(text)
    return requirements.read(path, MARKERS, environment)


def refusal(tmp_path: Path, text: str) -> BootunionError:
    with pytest.raises(BootunionError) as caught:
        read(tmp_path, text)
    assert caught.value.way_out
    return caught.value


def test_requirements_with_hashes(tmp_path: Path) -> None:
    found = read(tmp_path, f"""\
# a comment
Demo_One[extra,other]==1.0 ; python_version >= "3.8" \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via something
two == 2.0 --hash sha512:00 --hash=sha256:{B.upper()}   # and a comment
old==1 ; sys_platform == "win32" --hash=sha256:{A}
""")  # fmt: skip
    one, two = found.wanted
    assert (one.name, one.version, one.hashes) == ("demo-one", "1.0", {A, B})
    assert one.extras == {"extra", "other"}
    assert (two.name, two.version, two.hashes) == ("two", "2.0", {B})
    assert found.closed


def test_a_comment_ends_a_continued_line_as_with_pip(tmp_path: Path) -> None:
    found = read(tmp_path, f"one==1 --hash=sha256:{A} \\\n# comment \\\ntwo==2 --hash=sha256:{B}\n")
    assert [one.name for one in found.wanted] == ["one", "two"]


def test_options_and_further_files(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/base.txt").write_text(f"-f links\nbase==1 --hash=sha256:{A}\n")
    found = read(tmp_path, f"""\
-i https://example.org/simple
--extra-index-url=https://example.net/simple
--find-links https://${{HOST}}/links
-r more/base.txt
--require-hashes
--only-binary :all:
top==1 --hash=sha256:{A}
""", HOST="example.com")  # fmt: skip
    assert found.main_index == "https://example.org/simple"
    assert found.sources.indexes == ("https://example.net/simple",)
    assert found.sources.find_links == ("https://example.com/links", str(tmp_path / "more/links"))
    assert [one.name for one in found.wanted] == ["base", "top"]
    assert found.inputs == tuple(
        str(tmp_path / one) for one in ("requirements.txt", "more/base.txt")
    )
    assert found.variables == ("HOST",)


def test_wheels_by_address_and_by_path(tmp_path: Path) -> None:
    found = read(tmp_path, f"""\
one @ https://example.org/one-1.0-py3-none-any.whl#sha256={A}
https://example.org/a%2Bb/two-2.0%2Bcpu-py3-none-any.whl --hash=sha256:{B}
./files/three-3.0-py3-none-any.whl --hash=sha256:{A}
""")  # fmt: skip
    assert [(one.name, one.version) for one in found.wanted] == [
        ("one", "1.0"), ("two", "2.0+cpu"), ("three", "3.0")]  # fmt: skip
    assert found.wanted[1].candidates[0].file_name == "two-2.0+cpu-py3-none-any.whl"
    assert (
        found.wanted[2].candidates[0].place == f"file://{tmp_path}/files/three-3.0-py3-none-any.whl"
    )


@pytest.mark.parametrize(("text", "code"), [
    ("one==1.0", "hashes-missing"),
    (f"one>=1.0 --hash=sha256:{A}", "hashes-missing"),
    (f"one==1.* --hash=sha256:{A}", "hashes-missing"),
    ("one==1.0 --hash=md5:00", "hashes-missing"),
    ("-e .", "sdist-only"),
    (f"./one-1.0.tar.gz --hash=sha256:{A}", "sdist-only"),
    (f"one @ https://example.org/one-1.0.zip --hash=sha256:{A}", "sdist-only"),
    (f"one @ git+https://example.org/one --hash=sha256:{A}", "sdist-only"),
    ("one==1.0 --hash=sha256:xyz", "project-invalid"),
    (f"one==1.0 --hash=sha256:{A} --global-option=x", "project-invalid"),
    ("--unknown x", "project-invalid"),
    ("one==1.0 --hash", "project-invalid"),
    ("one=1.0", "project-invalid"),
    ("'one", "project-invalid"),
    (f"one==1 ; x == '1' --hash=sha256:{A}", "project-invalid"),
    (f"one==1 --hash=sha256:{A}\none==2 --hash=sha256:{A}", "project-invalid"),
    ("-r requirements.txt", "project-invalid"),
    ("-r gone.txt", "file-missing"),
])  # fmt: skip
def test_requirements_that_are_refused(tmp_path: Path, text: str, code: str) -> None:
    assert refusal(tmp_path, text).code == code


def lock(tmp_path: Path, text: str, name: str = "pylock.toml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


HASHES = f'{{sha256 = "{A}"}}'
PYLOCK = f"""\
lock-version = "1.0"
created-by = "test"
default-groups = ["dev"]
requires-python = ">=3.9"
[[packages]]
name = "One"
version = "1.0"
wheels = [
  {{name = "one-1.0-py3-none-any.whl", url = "https://example.org/x", size = 5, hashes = {HASHES}}},
  {{path = "wheels/one-1.0-py2-none-any.whl", hashes = {{sha256 = "{B}"}}}},
]
sdist = {{name = "one-1.0.tar.gz", hashes = {{sha256 = "{B}"}}}}
[[packages]]
name = "test-only"
version = "2"
marker = "'dev' in dependency_groups"
wheels = [{{url = "https://example.org/test_only-2-py3-none-any.whl", hashes = {{sha256 = "{A}"}}}}]
[[packages]]
name = "docs-only"
version = "2"
marker = "'docs' in dependency_groups or 'web' in extras or sys_platform == 'win32'"
wheels = [{{url = "https://example.org/docs_only-2-py3-none-any.whl", hashes = {{sha256 = "{A}"}}}}]
"""


def test_a_pylock(tmp_path: Path) -> None:
    found = pylock.read(lock(tmp_path, PYLOCK), MARKERS, "3.11.2")
    assert [one.name for one in found.wanted] == ["one", "test-only"]
    first, second = found.wanted[0].candidates
    assert (first.file_name, first.size, first.sha256) == ("one-1.0-py3-none-any.whl", 5, A)
    assert second.place == f"file://{tmp_path}/wheels/one-1.0-py2-none-any.whl"
    assert found.wanted[0].sdist
    assert found.wanted[1].candidates[0].file_name == "test_only-2-py3-none-any.whl"


@pytest.mark.parametrize(("before", "after", "code"), [
    ('lock-version = "1.0"', 'lock-version = "2.0"', "project-invalid"),
    ('lock-version = "1.0"', "lock-version = ", "project-invalid"),
    (">=3.9", ">=3.99", "python-unfit"),
    (">=3.9", "x", "project-invalid"),
    (f'sha256 = "{A}"', 'md5 = "x"', "hashes-missing"),
    ("'dev' in dependency_groups", "dev dev", "project-invalid"),
    ('version = "2"\nmarker', 'vcs = {type = "git", url = "x"}\nmarker', "sdist-only"),
    ("wheels = [\n", "wheels = 1\nother = [\n", "project-invalid"),
    ('name = "test-only"', 'name = "one"', "project-invalid"),
    ('requires-python = ">=3.9"', "environments = [\"sys_platform == 'win32'\"]", "python-unfit"),
])  # fmt: skip
def test_a_pylock_that_is_refused(tmp_path: Path, before: str, after: str, code: str) -> None:
    assert before in PYLOCK
    with pytest.raises(BootunionError) as caught:
        pylock.read(lock(tmp_path, PYLOCK.replace(before, after)), MARKERS, "3.11.2")
    assert caught.value.code == code


HASH = f'hash = "sha256:{A}"'


def uv_package(name: str, version: str, more: str = "") -> str:
    return f"""
[[package]]
name = "{name}"
version = "{version}"
source = {{ registry = "https://pypi.org/simple" }}
{more}
wheels = [{{ url = "https://example.org/{name}-{version}-py3-none-any.whl", {HASH}, size = 7 }}]
"""


UV = (
    'version = 1\nrevision = 3\nrequires-python = ">=3.9"\n'
    + uv_package(
        "requests",
        "2",
        """\
dependencies = [ { name = "idna" }, { name = "colorama", marker = "sys_platform == 'win32'" } ]
[package.optional-dependencies]
socks = [ { name = "pysocks" } ]
[[package]]
name = "unused"
version = "1"
source = { git = "https://example.org/x" }
[[package]]
name = "requests-more"
version = "1"
source = { registry = "https://pypi.org/simple" }
""",
    )
    + uv_package("idna", "3")
    + uv_package("pysocks", "1")
    + uv_package("colorama", "1")
    + uv_package("pytest", "9")
    + uv_package("sphinx", "8")
    + uv_package("numpy", "1")
    + uv_package("numpy", "2")
    + """
[[package]]
name = "mine"
version = "0.1"
source = { virtual = "." }
dependencies = [
  { name = "requests", extra = ["socks"] },
  { name = "numpy", version = "1", marker = "python_version < '3.11'" },
  { name = "numpy", version = "2", marker = "python_version >= '3.11'" },
]
[package.dev-dependencies]
dev = [ { name = "pytest" } ]
docs = [ { name = "sphinx" } ]
"""
)


def test_a_uv_lock_is_followed_from_the_project(tmp_path: Path) -> None:
    found = uvlock.read(lock(tmp_path, UV, "uv.lock"), MARKERS, "3.11.2")
    assert [one.title for one in found.wanted] == [
        "idna==3", "numpy==2", "pysocks==1", "pytest==9", "requests==2"]  # fmt: skip
    assert found.wanted[0].candidates[0].size == 7
    assert found.python_path == ()


def test_the_groups_are_those_of_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.uv]\ndefault-groups = ["docs"]\n')
    found = uvlock.read(lock(tmp_path, UV, "uv.lock"), MARKERS, "3.11.2")
    assert {"sphinx", "pytest"} & {one.name for one in found.wanted} == {"sphinx"}


def test_an_editable_project_finds_its_own_modules(tmp_path: Path) -> None:
    path = lock(tmp_path, UV.replace('virtual = "."', 'editable = "."'), "uv.lock")
    assert uvlock.read(path, MARKERS, "3.11.2").python_path == (str(tmp_path),)
    (tmp_path / "src").mkdir()
    assert uvlock.read(path, MARKERS, "3.11.2").python_path == (str(tmp_path / "src"),)


@pytest.mark.parametrize(("before", "after", "code"), [
    ("version = 1\n", "version = 2\n", "project-invalid"),
    ('virtual = "."', 'virtual = "x"', "project-invalid"),
    ('{ name = "idna" }', '{ name = "gone" }', "project-invalid"),
    ('{ name = "idna" }', '{ name = "unused" }', "sdist-only"),
    ('{ name = "idna" }', "1", "project-invalid"),
    (">= '3.11'", ">= '3.10'", ""),
    ("< '3.11'", "< '3.12'", "project-invalid"),
    (">=3.9", "<3.9", "python-unfit"),
    (f'hash = "sha256:{A}"', 'hash = "md5:x"', "hashes-missing"),
])  # fmt: skip
def test_a_uv_lock_that_is_refused(tmp_path: Path, before: str, after: str, code: str) -> None:
    assert before in UV
    path = lock(tmp_path, UV.replace(before, after), "uv.lock")
    if not code:
        uvlock.read(path, MARKERS, "3.11.2")
        return
    with pytest.raises(BootunionError) as caught:
        uvlock.read(path, MARKERS, "3.11.2")
    assert caught.value.code == code


def test_bootunion_yaml(tmp_path: Path) -> None:
    (tmp_path / "locked.txt").write_text("")
    (tmp_path / "bootunion.yaml").write_text(
        "requirements: locked.txt\npython: /usr/bin/python3.11\nsystem-packages: true\n"
        "index: https://example.org/simple\nfind-links: [wheels, 'https://example.org/links']\n"
        "list: tools@3\nwith: [libfoo=2]\n"
    )
    assert settings.read(tmp_path) == settings.Settings(
        tmp_path / "locked.txt", "/usr/bin/python3.11", True, ("https://example.org/simple",),
        (str(tmp_path / "wheels"), "https://example.org/links"), "tools@3", ("libfoo=2",),
    )  # fmt: skip


def test_a_project_is_found_by_its_lock_file(tmp_path: Path) -> None:
    with pytest.raises(BootunionError) as caught:
        settings.read(tmp_path)
    assert caught.value.code == "project-missing"
    for name in ("requirements.txt", "pylock.toml", "uv.lock"):
        (tmp_path / name).write_text("")
        assert settings.read(tmp_path).requirements == tmp_path / name


@pytest.mark.parametrize("text", [
    "[", "- a", "requirments: x", "python: 3", "system-packages: 1", "index: 5", "with: [1]",
    "list: ../x", "list: x@y", "list: 'x@'", "requirements: [a, b]", "python: ''",
    "list: a\nlist: b",
])  # fmt: skip
def test_a_bootunion_yaml_that_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "bootunion.yaml").write_text(text)
    with pytest.raises(BootunionError) as caught:
        settings.read(tmp_path)
    assert caught.value.code == "project-invalid"


FILES = ("etc/xdg/pip/pip.conf", "home/.pip/pip.conf", "home/.config/pip/pip.conf", "given.conf")
TEXTS = (
    "[global]\nindex-url = https://global/simple\nextra-index-url = https://e1/s\n https://e2/s\n",
    "[global]\nINDEX_URL = https://user/simple\n[install]\nfind-links = /from/install\n",
    "[global]\nfind-links = /from/global /two\ntimeout = 7\n",
    "[install]\nno-index = true\n[other]\nindex-url = https://wrong/\n",
)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("variables", [
    {}, {"PIP_INDEX_URL": "https://environment/simple"}, {"PIP_EXTRA_INDEX_URL": ""},
    {"PIP_FIND_LINKS": "/e/1 /e/2", "PIP_TIMEOUT": "9"}, {"PIP_CONFIG_FILE": os.devnull},
])  # fmt: skip
def test_the_configuration_is_what_pip_reads(
    tmp_path: Path, count: int, variables: dict[str, str]
) -> None:
    """As pip's own option parser has it, files and environment merged."""
    for name, text in zip(FILES[:count], TEXTS, strict=False):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    environment = {
        "HOME": str(tmp_path / "home"), "XDG_CONFIG_DIRS": str(tmp_path / "etc/xdg"),
        "PATH": os.environ["PATH"], "PIP_CONFIG_FILE": str(tmp_path / "given.conf"), **variables,
    }  # fmt: skip
    if count < 4 and "PIP_CONFIG_FILE" not in variables:
        del environment["PIP_CONFIG_FILE"]
    code = (
        "from pip._internal.commands import create_command\n"
        "o = create_command('install').parse_args([])[0]\n"
        "print(repr((o.index_url, o.extra_index_urls, o.find_links, o.no_index,"
        " float(o.timeout))))"
    )
    argv = [sys.executable, "-c", code]
    out = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout
    index, extra, links, no_index, timeout = eval(out)
    found = pipconfig.read(environment, sys.prefix)
    assert found.sources.indexes == (() if no_index else (index, *extra))
    assert found.sources.find_links == tuple(links)
    assert found.timeout == timeout


def test_a_configuration_that_pip_could_not_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("no section\n")
    environment = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "HOME": "/nowhere"}
    with pytest.raises(BootunionError) as caught:
        pipconfig.read(environment)
    assert caught.value.code == "environment-invalid"


NAMED = st.from_regex(r"\A[A-Za-z0-9._-]{1,8} ?== ?[0-9ab.rc!+*postdev-]{1,10}\Z")


@given(
    NAMED | st.sampled_from(["a==1", "A_b.-c==1.0rc1", "a == 2.0.post1", "a==1.dev0", "a==1.0.*"])
)
def test_a_pinned_line_is_read_as_packaging_reads_it(text: str) -> None:
    """`packaging` is not asked for what nearly every line of a lock file is."""
    found = requirements._PINNED.match(text)
    if found is None:
        return
    one = Requirement(text)
    assert (one.extras, one.marker, one.url) == (set(), None, None)
    (pin,) = one.specifier
    assert (pin.operator, pin.version) == ("==", found["version"])
    assert one.name == found["name"]
    (wanted,) = _read_line(f"{text} --hash=sha256:{'a' * 64}")
    assert wanted.name == canonicalize_name(one.name)


def _read_line(line: str) -> tuple[Wanted, ...]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "requirements.txt"
        path.write_text(f"{line}\n")
        return requirements.read(path, {}, {}).wanted


def test_most_lines_of_the_examples_are_pinned_plainly() -> None:
    text = (Path(__file__).parents[1] / "examples/python-project/requirements.txt").read_text()
    lines = [line.split(" --hash")[0].rstrip(" \\") for line in text.splitlines() if "==" in line]
    assert len(lines) > 15
    assert all(requirements._PINNED.match(one) for one in lines)


@pytest.mark.parametrize(
    ("words", "plain"),
    [
        (["run", "--project", ".", "--", "true"], True),
        (["run", "--project", ".", "--", "true", "--", "x"], True),
        (["run", "--project", ".", "--"], False),
        (["run", "--project", "/nowhere", "--", "true"], False),
        (["run", "--project", __file__, "--", "true"], False),
        (["run", "--project", ".", "--pure", "--", "true"], False),
        (["run", "--pure", "--project", ".", "--", "true"], False),
        (["shell", "--project", ".", "--", "true"], False),
        (["run", "--help"], False),
    ],
    ids=str,
)
def test_which_words_need_no_click(words: list[str], plain: bool) -> None:
    project, command = start._plain_project(words)
    assert bool(command) is plain
    if plain:
        assert (project, list(command)) == (words[2], words[4:])


@pytest.mark.parametrize("name", ["BOOTUNION_STORE", "BOOTUNION_TRUST", "BOOTUNION_SOURCES"])
def test_a_variable_that_stands_for_an_option_is_heeded(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/elsewhere")
    assert start._plain_project(["run", "--project", ".", "--", "true"]) == ("", ())
