"""Shared parts of the tests: a store of its own with keys, and real .debs where there is apt."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import browser
import composing
import hypothesis
import pagetools
import pytest
import small_system
from browser import Browser

from bootunion.host import signing
from bootunion.host.signing import Signer
from bootunion.host.store import Store

CACHE = composing.CACHE

# These machines are shared and noisy: how long an example takes says nothing.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    signing.generate(directory)
    return directory


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").create()


@pytest.fixture
def signer(keys: Path) -> Signer:
    return Signer(keys / "package.key")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> small_system.Shop:
    """A small system whose packages are real and whose programs are not."""
    top = tmp_path_factory.mktemp("small")
    return small_system.Shop(Store(top / "store").create(), Signer(keys / "package.key"), top)


@pytest.fixture(scope="session")
def debs() -> dict[str, Path]:
    """Real packages with setuid files, hard links, odd names and modes, diversions, triggers."""
    names = (
        "at", "auditd", "base-files", "ca-certificates", "cmake-data", "coreutils", "dash",
        "dbus-daemon", "libc6", "perl-base", "sudo", "unzip",
    )  # fmt: skip
    where = CACHE / "debs"
    where.mkdir(parents=True, exist_ok=True)
    if not all(list(where.glob(f"{name}_*.deb")) for name in names):
        done = subprocess.run(
            ["apt-get", "-q", "download", *names], cwd=where, capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"apt cannot download: {done.stderr.decode()[-200:]}")
    return {name: sorted(where.glob(f"{name}_*.deb"))[-1] for name in names}


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[composing.Shop, list[str]]:
    """A small system composed twice under other circumstances, and what differs."""
    sys.path.insert(0, str(composing.TOP / "bench"))
    import reproducible

    top = tmp_path_factory.mktemp("pair")
    made = composing.Shop(top / "one", top / "keys")
    (top / "one").mkdir()
    yaml = made.write().rename(top / "system.yaml")
    (top / "one").rmdir()
    return made, reproducible.compare(yaml, top, CACHE)


@pytest.fixture
def shop(pair: tuple[composing.Shop, list[str]], tmp_path: Path) -> composing.Shop:
    """A store with the small system's packages, quick to compose from."""
    made = composing.Shop(tmp_path / "shop", pair[0].keys)
    made.top.mkdir()
    composing.copy_store(pair[0].store, made.store)
    return made


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if browser.CHROMIUM is None:
        assert not os.environ.get("CI"), "scripts/setup.sh installs chromium"
        pytest.skip("there is no chromium")
    with browser.start() as running:
        yield running


@pytest.fixture
def show(chromium: Browser, tmp_path: Path) -> Iterator[pagetools.Open]:
    """Opens a page by its name, or by its text, from a file."""

    def opened(what: str) -> Browser:
        text = pagetools.page(what) if what in pagetools.PAGES else what
        path = tmp_path / "page.html"
        path.write_bytes(text.encode())
        chromium.open(f"file://{path}")
        return chromium

    chromium.size(1200, 900)
    chromium.prefer(prefers_color_scheme="light")
    yield opened
    chromium.scripts(True)
