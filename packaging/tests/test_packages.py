"""Packages as people get them: built, installed into a clean Debian 12, booted, taken away.

Heavy: `make packages-test`. The images that the boots start are made by the tests before them.
"""

import json
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pytest
import roots

TOP = roots.TOP
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes roots, which needs root")
GENERATORS = ["dracut", *(["initramfs-tools"] if (TOP / "initramfs-tools").exists() else [])]
UNIT = "usr/lib/systemd/system/bootunion-good.service"
UNIT_LINK = "usr/lib/systemd/system/multi-user.target.wants/bootunion-good.service"
# Also what is only recommended, and that by apt itself (ca-certificates, which python3-requests
# brings).
_CLEARED = ["apt-get", "purge", "--yes", "--quiet", "--auto-remove", "-o",
            "APT::AutoRemove::RecommendsImportant=false"]  # fmt: skip


def build(what: str, output: Path) -> list[Path]:
    """The packages of the commit that is checked out."""
    done = subprocess.run(
        [TOP / f"packaging/build-{what}.sh", output], capture_output=True, text=True, check=False
    )
    (roots.BUILD / f"build-{what}.log").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return sorted(output.iterdir())


@pytest.fixture(scope="session", autouse=True)
def _build_directory() -> None:
    roots.BUILD.mkdir(parents=True, exist_ok=True)


@pytest.fixture(scope="session")
def debs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build("deb", tmp_path_factory.mktemp("debs"))


@pytest.mark.parametrize("generator", GENERATORS)
def test_debian_packages_install_and_leave_nothing_behind(debs: list[Path], generator: str) -> None:
    wanted = [deb for deb in debs if deb.name.startswith(("bootunion_", f"bootunion-{generator}_"))]
    assert len(wanted) == 2
    with roots.debian() as root:
        root.run(["apt-get", "update", "--quiet"])
        before = root.listing()
        for deb in wanted:
            (root.path / "tmp" / deb.name).write_bytes(deb.read_bytes())
        root.run(["apt-get", "install", "--yes", "--quiet", "--no-install-recommends",
                  *(f"/tmp/{deb.name}" for deb in wanted)])  # fmt: skip
        assert root.run(["bootunion", "--version"]).stdout.startswith("bootunion, version ")
        enabled = root.run(["systemctl", "is-enabled", "bootunion-good.service"],
                           check=False).stdout  # fmt: skip
        assert enabled.strip() in ("enabled", "static")
        said = root.run(["bootunion", "install-hooks", "--man"], check=False).stderr
        assert "[hooks-missing]" in said
        after = root.listing()
        pages = (f"usr/share/man/man{page.suffix[1:]}/{page.name}.gz"
                 for page in (TOP / "docs/man").iterdir())  # fmt: skip
        for path in (*pages, UNIT, UNIT_LINK, "usr/share/bash-completion/completions/bootunion",
                     "usr/share/zsh/vendor-completions/_bootunion",
                     "usr/share/fish/vendor_completions.d/bootunion.fish"):  # fmt: skip
            assert path in after
        _sound({path: after[path].split(" ", 3)[:3] for path in after.keys() - before.keys()
                if "bootunion" in path})  # fmt: skip
        roots.make_image(root, f"deb-{generator}", generator)
        names = [deb.name.partition("_")[0] for deb in wanted]
        root.run([*_CLEARED, *names])
        left = roots.differences(before, root.listing())
    # dpkg's own backup of its last state.
    assert left == ["~ var/lib/dpkg/status-old"]


def test_a_wheel_in_a_virtual_environment_and_its_hooks(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--wheel-dir", tmp_path, TOP], check=True,
    )  # fmt: skip
    wheel = next(tmp_path.glob("*.whl"))
    with roots.debian() as root:
        root.run(["apt-get", "update", "--quiet"])
        # What the machine itself brings: the generator, and what runs in any initramfs.
        root.run(["apt-get", "install", "--yes", "--quiet", "--no-install-recommends",
                  "dracut-core", "python3-venv"])  # fmt: skip
        before = root.listing()
        _install_wheel(root, wheel)
        done = root.run(["/opt/bootunion/bin/bootunion", "install-hooks", "--json"])
        assert {one["did"] for one in json.loads(done.stdout)["files"]} == {"installed"}
        assert root.run(["/opt/bootunion/bin/bootunion", "install-hooks"]).stdout.count(
            "unchanged") > 10  # fmt: skip
        enabled = root.run(["systemctl", "is-enabled", "bootunion-good.service"], check=False)
        assert enabled.stdout.strip() in ("enabled", "static", "enabled-runtime")
        after = root.listing()
        assert {f"usr/local/{path.removeprefix('usr/')}" for path in (UNIT, UNIT_LINK)} <= {*after}
        _sound({path: after[path].split(" ", 3)[:3] for path in after.keys() - before.keys()
                if "bootunion" in path and not path.startswith("opt/")})  # fmt: skip
        roots.make_image(root, "wheel", "dracut")
        root.run(["/opt/bootunion/bin/bootunion", "install-hooks", "--remove"])
        root.run(["rm", "-r", "/opt/bootunion"])
        assert roots.differences(before, root.listing()) == []


def _install_wheel(root: roots.Root, wheel: Path) -> None:
    """Install a wheel into a clean virtual environment at /opt/bootunion.

    Its dependencies are downloaded here: this machine's pip knows which index to ask.
    """
    place = root.path / "tmp/wheels"
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--dest", place, "--only-binary",
         ":all:", "--python-version", "3.11", wheel], check=True,
    )  # fmt: skip
    root.run(["python3", "-m", "venv", "/opt/bootunion"])
    root.run(["/opt/bootunion/bin/pip", "install", "--quiet", "--no-index", "--find-links",
              "/tmp/wheels", f"/tmp/wheels/{wheel.name}"])  # fmt: skip


@pytest.mark.parametrize("kind", [*(f"deb-{one}" for one in GENERATORS), "wheel"])
def test_an_image_that_was_made_there_boots_the_list(kind: str) -> None:
    image = roots.BUILD / f"{kind}.img"
    assert image.exists(), "made by the test that installs"
    assert "BOOTED" in roots.boots(image)


def test_the_arch_package_holds_everything(tmp_path: Path) -> None:
    package = next(one for one in build("arch", tmp_path / "arch") if "pkg.tar" in one.name)
    plain = tmp_path / "package.tar"
    subprocess.run(["zstd", "-q", "-d", package, "-o", plain], check=True)
    with tarfile.open(plain) as archive:
        found = {one.name: [_mode(one), str(one.uid), str(one.gid)] for one in archive}
    _holds_all(found)
    _sound(found)


def _mode(member: tarfile.TarInfo) -> str:
    kind = stat.S_IFLNK if member.issym() else stat.S_IFDIR if member.isdir() else stat.S_IFREG
    return f"{kind | member.mode:o}"


def test_the_rpm_packages_hold_everything(tmp_path: Path) -> None:
    found: dict[str, list[str]] = {}
    query = r"[%{FILENAMES}\t%{FILEMODES:octal}\t%{FILEUSERNAME}\t%{FILEGROUPNAME}\n]"
    for package in build("rpm", tmp_path / "rpm"):
        said = subprocess.run(["rpm", "-qp", "--queryformat", query, package], check=True,
                              capture_output=True, text=True).stdout  # fmt: skip
        for line in said.splitlines():
            name, mode, *owner = line.split("\t")
            found[name.removeprefix("/")] = [
                mode,
                *("0" if one == "root" else one for one in owner),
            ]
    _holds_all(found)
    _sound(found)


def _sound(found: Mapping[str, Sequence[str]]) -> None:
    """Modes that a package has, and root's: path → mode in octal, uid, gid."""
    assert len(found) > 10
    modes = ("100644", "100755", "40755", "040755", "120777")
    assert {path: one for path, one in found.items()
            if one[0] not in modes or list(one[1:]) != ["0", "0"]} == {}  # fmt: skip


def _holds_all(names: Collection[str]) -> None:
    wanted = [
        "usr/bin/bootunion", "usr/lib/dracut/modules.d/50bootunion/module-setup.sh",
        UNIT, UNIT_LINK,
        "usr/share/bash-completion/completions/bootunion",
        "usr/share/zsh/site-functions/_bootunion",
        "usr/share/fish/vendor_completions.d/bootunion.fish",
    ]  # fmt: skip
    pages = [f"usr/share/man/man{page.suffix[1:]}/{page.name}"
             for page in (TOP / "docs/man").iterdir()]  # fmt: skip
    for path in [*wanted, *pages]:
        assert any(name in (path, f"{path}.gz") for name in names), path
    assert any(name.endswith("-packages/bootunion/initrd/bootunion-run") for name in names)
