"""install-hooks: what a root gets, what it may keep, and that nothing else is touched."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bootunion.errors import BootunionError
from bootunion.host import hooks

BIN = Path(sys.executable).parent / "bootunion"
ALL = hooks.COMPONENTS
SOME = ("dracut", "systemd", "man", "completion")
"""The components that have files in each version of the project."""


def tree(root: Path) -> dict[str, str]:
    """Each path below a root, with what it is."""
    return {
        str(path.relative_to(root)): f"{path.lstat().st_mode:o} "
        + (str(path.readlink()) if path.is_symlink() else
           hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        for path in sorted(root.rglob("*"))
    }  # fmt: skip


def install(root: Path, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    argv = [BIN, "install-hooks", "--root", root, "--json", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def did(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {one["path"]: one["did"] for one in json.loads(done.stdout)["files"]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with something of other people's in it, and dracut."""
    made = tmp_path / "root"
    (made / "usr/lib/dracut/modules.d/99base").mkdir(parents=True)
    (made / "usr/lib/dracut/modules.d/99base/module-setup.sh").write_text("base")
    return made


def test_a_root_gets_what_it_has_tools_for(root: Path) -> None:
    paths = did(install(root))
    assert set(paths.values()) == {hooks.INSTALLED}
    for path in (
        "/usr/lib/dracut/modules.d/50bootunion/module-setup.sh",
        "/usr/local/lib/systemd/system/bootunion-good.service",
        "/usr/local/lib/systemd/system/multi-user.target.wants/bootunion-good.service",
        "/usr/local/share/man/man1/bootunion.1",
        "/usr/local/share/man/man5/bootunion-system.yaml.5",
        "/usr/local/share/bash-completion/completions/bootunion",
        "/usr/local/share/zsh/site-functions/_bootunion",
        "/usr/local/share/fish/vendor_completions.d/bootunion.fish",
    ):
        assert path in paths
    assert not [path for path in paths if "initcpio" in path or "initramfs-tools" in path]
    # A generator whose hooks this installation does not hold is no reason to refuse the rest.
    (root / "usr/share/initramfs-tools").mkdir(parents=True)
    (root / "usr/lib/initcpio").mkdir(parents=True)
    install(root)
    link = root / "usr/local/lib/systemd/system/multi-user.target.wants/bootunion-good.service"
    assert link.resolve().read_text().startswith("[Unit]")


def test_each_file_of_the_hooks_is_installed_somewhere() -> None:
    top = Path(__file__).resolve().parents[1]
    sources = {
        path.read_bytes()
        for place in ("dracut-module", "mkinitcpio-hook", "initramfs-tools", "docs/man",
                      "bootunion/share/systemd", "bootunion/share/login",
                      "bootunion/share/completion")
        for path in (top / place).rglob("*") if path.is_file() and path.name != "README.md"
    }  # fmt: skip
    found = [component for component in ALL if list(hooks._collect(component, "/usr", ""))]
    files = hooks.collect(found, "/usr")
    assert {file.data for file in files.values() if not file.link} == sources
    assert set(SOME) <= set(found)


def test_how_people_log_in_is_changed_on_request_only(root: Path) -> None:
    (root / "etc/security/namespace.d").mkdir(parents=True)
    assert not [path for path in did(install(root)) if "login" in path or "/etc/" in path]
    assert set(did(install(root, "--login"))) == {
        "/etc/pam.d/bootunion-login", "/etc/security/namespace.d/bootunion-namespace.conf",
        "/usr/lib/bootunion/login-root",
    }  # fmt: skip
    assert (root / "usr/lib/bootunion/login-root").stat().st_mode & 0o777 == 0o755


def test_a_template_is_wanted_by_no_target(root: Path) -> None:
    paths = [path for path in did(install(root, "--systemd")) if "bootunion-root@" in path]
    assert paths == ["/usr/local/lib/systemd/system/bootunion-root@.service"]


def test_removing_takes_exactly_that_away(root: Path) -> None:
    before = tree(root)
    install(root)
    (root / "usr/local/share/man/man1/other.1").write_text("somebody else's")
    assert set(did(install(root, "--remove")).values()) == {hooks.REMOVED}
    (root / "usr/local/share/man/man1/other.1").unlink()
    for directory in ("usr/local/share/man/man1", "usr/local/share/man", "usr/local/share",
                      "usr/local"):  # fmt: skip
        (root / directory).rmdir()
    assert tree(root) == before


@pytest.mark.parametrize(
    "prefix, place", [("/", "share"), ("/opt//x/", "opt/x/share"), ("usr", "usr/share"),
                      ("/usr/../opt", "opt/share")],
)  # fmt: skip
def test_each_way_to_write_a_prefix_can_be_removed_again(
    root: Path, prefix: str, place: str
) -> None:
    before = tree(root)
    install(root, "--man", "--prefix", prefix)
    assert (root / place / "man/man1/bootunion.1").exists()
    install(root, "--remove")
    assert tree(root) == before


def test_a_second_time_changes_nothing(root: Path) -> None:
    install(root)
    before = tree(root)
    assert set(did(install(root)).values()) == {hooks.UNCHANGED}
    assert tree(root) == before


def test_one_component_comes_and_goes_alone(root: Path) -> None:
    install(root, "--dracut", "--man")
    paths = did(install(root, "--remove", "--man"))
    assert paths and all("/man/" in path for path in paths)
    assert (root / "usr/lib/dracut/modules.d/50bootunion/module-setup.sh").exists()
    assert not (root / "usr/local").exists()
    install(root, "--remove")
    assert not (root / "var").exists()


def test_what_belongs_to_somebody_else_is_not_written_over(root: Path) -> None:
    page = root / "usr/local/share/man/man7/bootunion.cmdline.7"
    page.parent.mkdir(parents=True)
    page.write_text("not ours")
    before = tree(root)
    said = install(root, status=3).stderr
    assert "[hooks-conflict]" in said and "bootunion.cmdline.7" in said
    assert tree(root) == before


def test_a_file_that_is_the_same_and_not_recorded_is_somebody_elses(root: Path) -> None:
    install(root, "--man", "--no-record")
    assert not (root / "var").exists()
    assert "[hooks-conflict]" in install(root, "--man", status=3).stderr


def test_a_changed_file_is_kept_and_said(root: Path) -> None:
    install(root, "--man")
    page = root / "usr/local/share/man/man1/bootunion.1"
    page.write_text("mine now")
    name = "/usr/local/share/man/man1/bootunion.1"
    assert did(install(root, "--man"))[name] == hooks.KEPT
    paths = did(install(root, "--remove"))
    assert paths.pop(name) == hooks.KEPT
    assert set(paths.values()) == {hooks.REMOVED}
    assert page.read_text() == "mine now"
    # It is still known: a repeated installation does not take it for somebody else's.
    assert did(install(root, "--man"))[name] == hooks.KEPT


def test_a_new_version_replaces_the_old_one_and_takes_away_what_it_lost(root: Path) -> None:
    old = {"/usr/share/a": hooks.File("man", b"old"), "/usr/share/b": hooks.File("man", b"b")}
    other = {"/usr/share/c": hooks.File("dracut", b"c")}
    hooks.install(root, {**old, **other})
    new = {"/usr/share/a": hooks.File("man", b"new")}
    done = {one.path: one.did for one in hooks.install(root, new)}
    assert done == {"/usr/share/a": hooks.UPDATED, "/usr/share/b": hooks.REMOVED}
    assert (root / "usr/share/a").read_bytes() == b"new"
    assert (root / "usr/share/c").exists()


@pytest.mark.parametrize("writes", range(5))
def test_killed_at_any_write_it_can_be_repeated_or_removed(
    root: Path, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(root)
    hooks.install(root, {"/usr/share/a": hooks.File("man", b"old")})
    new = {"/usr/share/a": hooks.File("man", b"new"), "/usr/share/b": hooks.File("man", b"b")}
    real, count = hooks.write_atomic, iter(range(100))

    def dies(path: Path, data: bytes, *, mode: int = 0o644) -> None:
        if next(count) == writes:
            raise KeyboardInterrupt
        real(path, data, mode=mode)

    monkeypatch.setattr(hooks, "write_atomic", dies)
    if writes < 4:
        with pytest.raises(KeyboardInterrupt):
            hooks.install(root, new)
    monkeypatch.setattr(hooks, "write_atomic", real)
    saved = tree(root)
    assert hooks.KEPT not in {one.did for one in hooks.remove(root, ALL)}
    assert tree(root) == before
    hooks.install(root, {"/usr/share/a": hooks.File("man", b"old")})
    assert saved
    assert hooks.KEPT not in {one.did for one in hooks.install(root, new)}


def test_a_root_is_not_left_through_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (root / "usr/local").symlink_to(tmp_path / "outside")
    assert "[hooks-conflict]" in install(root, "--man", status=3).stderr
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(
    "text", ["", "{}", '{"schema": 2}', "[1]",
             '{"schema":1,"files":{"/a/../../b":{"component":"man","is":["x"]}},"directories":[]}',
             '{"schema":1,"files":{},"directories":["/"]}'],
)  # fmt: skip
def test_a_record_that_cannot_be_read_is_refused(root: Path, text: str) -> None:
    place = root / hooks.RECORD[1:]
    place.parent.mkdir(parents=True)
    place.write_text(text)
    before = tree(root)
    for words in ([], ["--remove"]):
        assert "[hooks-record]" in install(root, *words, status=3).stderr
    assert tree(root) == before


def test_hooks_run_the_interpreter_that_has_bootunion() -> None:
    files = hooks.collect(SOME, "/usr", "/opt/venv/bin/python")
    setup = files["/usr/lib/dracut/modules.d/50bootunion/module-setup.sh"].data
    unit = files["/usr/lib/systemd/system/bootunion-good.service"].data
    assert b"/opt/venv/bin/python -m bootunion." in setup
    assert b"ExecStart=/opt/venv/bin/python -I -m bootunion." in unit
    for file in files.values():
        assert b"python3 -m bootunion." not in file.data
    system = hooks.collect(SOME, "/usr")
    assert b"ExecStart=/usr/bin/python3 -I -m" in system[
        "/usr/lib/systemd/system/bootunion-good.service"].data  # fmt: skip


def test_scripts_can_be_run_and_units_cannot() -> None:
    files = hooks.collect(SOME, "/usr")
    assert files["/usr/lib/dracut/modules.d/50bootunion/module-setup.sh"].mode == 0o755
    assert files["/usr/lib/systemd/system/bootunion-good.service"].mode == 0o644


def test_a_component_without_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "_SOURCE", Path("/nowhere/bootunion"))
    with pytest.raises(BootunionError, match="no files for man") as caught:
        hooks.collect(["man"], "/usr")
    assert caught.value.code == "hooks-missing"


def test_without_permission_it_is_one_sentence() -> None:
    before = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        argv = [BIN, "install-hooks", "--root", name, "--man"]
        done = subprocess.run([*(before if os.geteuid() == 0 else []), *argv],
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 1
        assert "[io-failed]" in done.stderr and "Traceback" not in done.stderr
        assert list(Path(name).iterdir()) == []


@pytest.mark.parametrize("name", ["bootunion", "sd-bootunion"])
def test_mkinitcpio_can_tell_what_a_hook_is_for(name: str) -> None:
    hook = hooks.collect(["mkinitcpio"], "/usr")[f"/usr/lib/initcpio/install/{name}"].data
    # As `mkinitcpio -H NAME` does: sourced, then asked.
    done = subprocess.run(["bash", "-euc", f"{hook.decode()}\nhelp"], capture_output=True,
                          text=True, check=True)  # fmt: skip
    for word in ("bootunion=NAME", "root=", "bootunion.store=", "/etc/bootunion/trust/trust.json"):
        assert word in done.stdout
