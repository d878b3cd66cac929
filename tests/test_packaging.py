"""What is packaged: the wheel is complete, and all package descriptions say the same."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
NAMES = {"pyyaml": {"arch": "python-yaml"}}
"""Where a distribution does not call a library as PyPI does."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, unpacked."""
    directory = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory]
    subprocess.run(argv, cwd=TOP, check=True, capture_output=True)
    unpacked = directory / "unpacked"
    with zipfile.ZipFile(next(directory.glob("*.whl"))) as archive:
        archive.extractall(unpacked)
    return unpacked


def installed(source: Path, root: Path) -> dict[str, bytes]:
    """What install-hooks of a bootunion at `source` puts into a root with every generator."""
    for directory in ("usr/lib/dracut", "usr/lib/initcpio", "usr/share/initramfs-tools"):
        (root / directory).mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-P", "-c", "from bootunion.host.cli import main; main()",
         "install-hooks", "--root", root, "--no-record", "--python", "/usr/bin/python3"],
        env={**os.environ, "PYTHONPATH": str(source)}, check=True, capture_output=True,
    )  # fmt: skip
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_a_wheel_installs_the_same_hooks_as_a_checkout(wheel: Path, tmp_path: Path) -> None:
    of_wheel = installed(wheel, tmp_path / "wheel")
    of_checkout = installed(TOP, tmp_path / "checkout")
    assert of_wheel == of_checkout
    assert len(of_wheel) > 15


def test_a_wheel_has_each_file_of_the_program(wheel: Path) -> None:
    wanted = {
        str(path.relative_to(TOP))
        for path in (TOP / "bootunion").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= {str(path.relative_to(wheel)) for path in wheel.rglob("*")}


def test_all_descriptions_have_one_version() -> None:
    found = {
        "debian": re.findall(r"\((.+?)\)", (TOP / "packaging/debian/changelog").read_text())[0],
        "arch": re.findall(r"^pkgver=(.+)", (TOP / "packaging/arch/PKGBUILD").read_text(), re.M)[0],
        "rpm": re.findall(
            r"^Version: +(.+)", (TOP / "packaging/rpm/bootunion.spec").read_text(), re.M
        )[0],
    }
    assert set(found.values()) == {PROJECT["version"]}


@pytest.mark.parametrize(
    "kind, file, prefix", [("arch", "arch/PKGBUILD", "python-"),
                           ("rpm", "rpm/bootunion.spec", "python3-")],
)  # fmt: skip
def test_each_library_is_asked_for(kind: str, file: str, prefix: str) -> None:
    text = (TOP / "packaging" / file).read_text()
    pattern = r"^depends=\((.*?)\)" if kind == "arch" else r"^Requires: +(\S+)"
    asked = re.findall(r"[\w-]+", " ".join(re.findall(pattern, text, re.M | re.S)))
    for library in PROJECT["dependencies"]:
        name = re.split(r"[><=]", library)[0]
        assert NAMES.get(name, {}).get(kind, prefix + name) in asked
