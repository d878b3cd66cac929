"""The project's own rules: style, types, shell scripts, and who may import whom."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bootunion.codes import CODES

TOP = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "argv", [["ruff", "format", "--check", "."], ["ruff", "check", "."], ["mypy"]], ids=" ".join
)
def test_tool_is_content(argv: list[str]) -> None:
    done = subprocess.run(
        [str(BIN / argv[0]), *argv[1:]], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_shellcheck_is_content() -> None:
    places = ["scripts/*.sh", "dracut-module/*/*.sh", ".ci/run", "packaging/*.sh",
              "mkinitcpio-hook/**/*", "initramfs-tools/**/*", "bootunion/initrd/bootunion-*",
              "qemu-tests/mkinitcpio/**/*", "bench/guest/*"]  # fmt: skip
    files = (path for place in places for path in TOP.glob(place) if path.is_file())
    scripts = [path for path in files if path.read_bytes().startswith(b"#!")]
    assert len(scripts) > 20
    done = subprocess.run(
        ["shellcheck", *map(str, scripts)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def imports(path: Path) -> set[str]:
    """Absolute names of what a module imports, relative imports resolved."""
    package = [*path.relative_to(TOP).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, node.module] if node.module else base)
            found |= {stem} | {f"{stem}.{alias.name}" for alias in node.names}
    return found


_LATER_PYTHON = ("sha256.py", "_sha2")  # Python 3.12 and later


def allowed(path: Path, name: str) -> bool:
    top = name.partition(".")[0]
    where = path.relative_to(TOP / "bootunion").parts
    if where[0] not in ("initrd", "helper", "host"):  # the model
        if name.startswith(("bootunion.initrd", "bootunion.helper", "bootunion.host")):
            return False
        third_party = (path.name, top) in (("signature.py", "cryptography"), _LATER_PYTHON)
        return third_party or top in ("bootunion", *sys.stdlib_module_names)
    if where[0] in ("initrd", "helper"):
        above = ("bootunion.host", *(("bootunion.helper",) if where[0] == "initrd" else ()))
        if name.startswith(above) or top == "subprocess":
            return False
        pyudev = path.name == "device.py" and top == "pyudev"
        return pyudev or top in ("bootunion", *sys.stdlib_module_names)
    return top != "subprocess" or path.name in ("run.py", "sandbox.py")


def test_imports_follow_the_design() -> None:
    wrong = [
        f"{path.relative_to(TOP)} imports {name}"
        for path in sorted((TOP / "bootunion").rglob("*.py"))
        for name in sorted(imports(path))
        if not allowed(path, name)
    ]
    assert not wrong


def test_import_rule_would_notice() -> None:
    assert not allowed(TOP / "bootunion/plan.py", "bootunion.host.run")
    assert not allowed(TOP / "bootunion/checks/entry.py", "bootunion.host.run")
    assert not allowed(TOP / "bootunion/initrd/agent.py", "subprocess")
    assert not allowed(TOP / "bootunion/initrd/agent.py", "bootunion.helper.server")
    assert not allowed(TOP / "bootunion/plan.py", "bootunion.helper.policy")
    for name in ("subprocess", "bootunion.host.store", "zstandard"):
        assert not allowed(TOP / "bootunion/helper/server.py", name)
    assert allowed(TOP / "bootunion/helper/server.py", "bootunion.initrd.store")
    assert allowed(TOP / "bootunion/signature.py", "cryptography.exceptions")


def test_the_agent_does_not_load_what_only_a_plan_needs() -> None:
    """Contents and merging cost every boot their import, and an auditor their reading."""
    waiting = sorted((TOP / "bootunion/initrd").glob("*.py"))
    loaded: set[Path] = set()
    while waiting:
        path = waiting.pop()
        loaded.add(path)
        for name in imports(path):
            found = (TOP / name.replace(".", "/")).with_suffix(".py")
            if found.is_file() and found not in loaded:
                waiting.append(found)
    names = {path.stem for path in loaded}
    assert {"plan", "systemlist", "executor"} <= names
    assert not {"contents", "decoding", "merge", "comparing", "checks"} & names


def test_every_code_that_is_raised_is_in_the_table() -> None:
    """An error does not look itself: most boots end without loading the table."""
    top = TOP / "bootunion"
    where = r"(?:BootunionError\(\s*|code ?= ?|_CODE = )"
    named = re.compile(where + r'"([a-z][a-z0-9-]+)"')
    files = (path for path in top.rglob("*.py") if path.parent.name != "checks")
    found = {code for path in files for code in named.findall(path.read_text())}
    assert len(found) > 80
    assert found - set(CODES) == set()
