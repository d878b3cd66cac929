"""Composing and apt: the host's state and hooks are out of it, bad repositories are refused, bad
input is one sentence."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from composing import BOOTUNION, CACHE, Said, Shop, deb, needs_root, run

from bootunion.errors import BootunionError
from bootunion.host.apt import Apt, host_settings, host_sources

pytestmark = needs_root
_HOST = ("/etc/apt", "/var/lib/apt", "/var/cache/apt", "/var/lib/dpkg", "/var/log/apt")


def state(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    digest = ""
    if path.is_file() and not path.is_symlink():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return status.st_mode, status.st_mtime_ns, status.st_ino, status.st_size, digest


def host_state() -> dict[str, tuple[object, ...]]:
    return {str(path): state(path) for top in _HOST for path in (Path(top), *Path(top).rglob("*"))}


def on_host(etc: Path, argv: list[str]) -> Said:
    """Run a command on a machine whose /etc/apt is `etc`: others use the real one."""
    bind = 'mount --bind "$0" /etc/apt && exec "$@"'
    return run(["unshare", "--mount", "sh", "-c", bind, str(etc), *argv])


def test_the_hosts_apt_is_as_it_was_and_its_hooks_do_not_run(shop: Shop, tmp_path: Path) -> None:
    ran, etc = tmp_path / "ran", tmp_path / "etc"
    shutil.copytree("/etc/apt", etc, symlinks=True)
    hooks = ("APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", "DPkg::Pre-Invoke",
             "APT::Update::Post-Invoke-Success", "DPkg::Post-Invoke",
             "DPkg::Pre-Install-Pkgs")  # fmt: skip
    (etc / "apt.conf.d/zz-test").write_text(
        "".join(f'{hook} {{"touch {ran}-{hook[-7:]}";}};\n' for hook in hooks)
        # It would hide or add packages.
        + 'APT::Install-Recommends "yes";\nAPT::Architectures {"i386";};\n'
    )
    before = host_state(), {path: state(path) for path in etc.rglob("*")}
    cache = tmp_path / "cache"
    shutil.copytree(CACHE / "apt/cache/archives", cache / "apt/cache/archives",
                    copy_function=os.link)  # fmt: skip
    done = on_host(etc, shop.argv(cache=cache))
    assert done.status == 0, done.err
    assert "importing packages (94)" in done.err
    after = host_state(), {path: state(path) for path in etc.rglob("*")}
    assert after == before
    assert not list(tmp_path.glob("ran*"))
    # And they do run where apt reads the host's configuration.
    (tmp_path / "list").touch()
    done = on_host(etc, ["apt-get", "-qq", f"-oDir::State={tmp_path}", "update",
                         "-oDir::Etc::SourceParts=-",
                         f"-oDir::Etc::SourceList={tmp_path / 'list'}"])  # fmt: skip
    assert done.status == 0 and list(tmp_path.glob("ran*"))


def test_how_the_host_reaches_its_mirrors_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "host.conf").write_text(
        'Acquire::http::Proxy "http://user:word@127.0.0.1:1";\n'
        'Acquire::https::mirror.example::CaInfo "/etc/ca.pem";\nAcquire::Retries "0";\n'
        'Acquire::AllowInsecureRepositories "yes";\nAcquire::Max-ValidTime "77";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "host.conf"))
    kept = host_settings(own_sources=False)
    assert kept["Acquire::http::Proxy"] == "http://user:word@127.0.0.1:1"
    assert kept["Acquire::https::mirror.example::CaInfo"] == "/etc/ca.pem"
    assert not [key for key in kept if "Insecure" in key or "Valid" in key]
    assert host_settings(own_sources=True)["Acquire::Max-ValidTime"] == "77"
    source = "Types: deb\nURIs: http://mirror.invalid/\nSuites: x\nComponents: main\n"
    with Apt(tmp_path / "apt", source, "amd64", kept) as tool:
        file = tmp_path / "apt/etc/apt/apt.conf"
        assert file.stat().st_mode & 0o777 == 0o600  # a password
        with pytest.raises(BootunionError) as caught:
            tool.update()
    # It asked the proxy, not the mirror.
    assert "127.0.0.1" in caught.value.message


def repository(tmp_path: Path, *debs: Path) -> Path:
    """A tiny repository without signature."""
    place = tmp_path / "repository"
    place.mkdir()
    for one in debs:
        shutil.copy(one, place)
    index = subprocess.run(["dpkg-scanpackages", "--multiversion", "."], cwd=place,
                           capture_output=True, check=True).stdout  # fmt: skip
    (place / "Packages").write_bytes(index)
    digest = hashlib.sha256(index).hexdigest()
    (place / "Release").write_text(
        "Suite: tiny\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n"
        f"SHA256:\n {digest} {len(index)} Packages\n"
    )
    return place


def source(place: Path, *fields: str) -> str:
    lines = ["Types: deb", f"URIs: file:{place}", "Suites: ./", *fields]
    return "sources: |\n" + "".join(f"  {line}\n" for line in lines)


def test_a_repository_without_signature_is_refused(shop: Shop, tmp_path: Path) -> None:
    place = repository(tmp_path, deb(tmp_path, "tiny"))
    text = source(place) + "packages: [tiny]\n"
    said = shop.compose(text, cache=tmp_path / "cache").refused("apt-failed", 1)
    assert "not signed" in said or "NO_PUBKEY" in said or "Release" in said
    assert not shop.lists() and shop.whole()


@pytest.fixture(scope="session")
def gnupg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two OpenPGP keys, `right` and `wrong`, with `right.asc` beside them."""
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)
    base = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    for name in ("right", "wrong"):
        subprocess.run([*base, "--quick-gen-key", name, "ed25519", "sign"], check=True)
    armoured = subprocess.run([*base, "--armor", "--export", "right"], capture_output=True,
                              check=True).stdout  # fmt: skip
    (home / "right.asc").write_bytes(armoured)
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
    return home


def sign(place: Path, gnupg: Path, key: str) -> None:
    argv = ["gpg", "--homedir", gnupg, "--batch", "--yes", "--quiet", "--local-user", key,
            "--clearsign", "--output", place / "InRelease", place / "Release"]  # fmt: skip
    subprocess.run(argv, check=True)


@pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg signs the repository")
def test_only_the_right_signature_of_a_repository_will_do(tmp_path: Path, gnupg: Path) -> None:
    place = repository(tmp_path, deb(tmp_path, "tiny"))
    (place / "Release").chmod(0o644)
    text = source(place, f"Signed-By: {gnupg / 'right.asc'}").removeprefix("sources: |\n")
    text = "".join(f"{line[2:]}\n" for line in text.splitlines())

    def update() -> None:
        with Apt(tmp_path / "apt", text, "amd64") as tool:
            tool.update()

    sign(place, gnupg, "right")
    update()
    sign(place, gnupg, "wrong")
    # That the repository was good before must not help.
    with pytest.raises(BootunionError) as caught:
        update()
    assert caught.value.code == "apt-failed"
    sign(place, gnupg, "right")
    with (place / "InRelease").open("r+b") as file:
        file.seek(file.read().index(b"tiny"))
        file.write(b"tinz")
    with pytest.raises(BootunionError):
        update()


def test_host_sources_without_signed_by_use_the_hosts_keys(tmp_path: Path) -> None:
    text = "".join(
        line for line in host_sources(["bookworm"]).splitlines(keepends=True)
        if not line.startswith("signed-by")
    )  # fmt: skip
    with Apt(tmp_path / "apt", text, "amd64", host_settings(own_sources=True)) as tool:
        tool.update()


BAD = {
    "unknown-key": ("packges: [x]\n", "system-invalid", 3, "did you mean `packages`"),
    "missing-key": ("", "system-invalid", 3, "`packages` is missing"),
    "relative": ("packages: []\nallow-whiteouts: [usr/x]\n", "system-invalid", 3,
                 "not an absolute path"),
    "climbing": ("packages: []\nallow-whiteouts: [/usr/../x]\n", "system-invalid", 3,
                 "not an absolute path"),
    "no-text": ("packages: []\nallow-whiteouts: [1]\n", "system-invalid", 3,
                "not an absolute path"),
    "unknown-package": ("packages: [no-such-package]\n", "apt-failed", 1, "no-such-package"),
    "unknown-suite": ("packages: []\n", "sources-missing", 3, "nosuite"),
    "wrong-suite": ("packages: []\nsources: |\n  Types: deb\n  Components: main\n"
                    "  URIs: http://deb.debian.org/debian\n  Suites: nosuite\n",
                    "apt-failed", 1, "nosuite"),
    "no-network": ("packages: []\nsources: |\n  Types: deb\n  Components: main\n"
                   "  URIs: http://127.0.0.1:1/\n  Suites: bookworm\n",
                   "apt-failed", 1, "127.0.0.1"),
    "no-directory": ("packages: []\nlocal: [{directory: nowhere, name: x, version: '1'}]\n",
                     "file-missing", 1, "nowhere"),
    "no-deb": ("packages: []\nlocal: [nowhere.deb]\n", "file-missing", 1, "nowhere.deb"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    case: str, tmp_path: Path, keys: Path
) -> None:
    text, code, status, words = BAD[case]
    suite = "nosuite" if case == "unknown-suite" else "bookworm"
    yaml = tmp_path / "system.yaml"
    yaml.write_text(f"name: small\nsuites: [{suite}]\n{text}")
    store = tmp_path / "store"
    said = run([str(BOOTUNION), "compose", str(yaml), "--keys", str(keys), "--store", str(store),
                "--cache", str(tmp_path / "cache")])  # fmt: skip
    assert words in said.refused(code, status)
    assert not [path for path in store.rglob("*") if path.is_file()]


def test_a_full_disk_while_importing_leaves_nothing(shop: Shop, tmp_path: Path) -> None:
    small = Shop(tmp_path / "small", shop.keys)
    small.store.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", small.store], check=True)
    try:
        small.compose().refused("disk-full", 1)
        assert not small.lists() and small.whole()
    finally:
        subprocess.run(["umount", small.store], check=True)


def test_a_full_disk_for_the_downloads_is_one_sentence(shop: Shop, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", cache], check=True)
    try:
        said = shop.compose(cache=cache)
        said.refused("disk-full", 1)
        assert not shop.lists() and shop.whole()
    finally:
        subprocess.run(["umount", cache], check=True)
