"""Wheels made in tests: right ones, and such as nobody should make."""

import base64
import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

METADATA = (
    "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: made for a test\n{more}\n"
)
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"

Change = Callable[[zipfile.ZipInfo], object]


def digest(data: bytes, algorithm: str = "sha256") -> str:
    raw = hashlib.new(algorithm, data).digest()
    return f"{algorithm}={base64.urlsafe_b64encode(raw).decode().rstrip('=')}"


def record(files: Mapping[str, bytes], own: str) -> bytes:
    lines = [f"{name},{digest(data)},{len(data)}\n" for name, data in files.items()]
    return "".join([*lines, f"{own},,\n"]).encode()


def wheel(
    directory: Path, files: Mapping[str, bytes] | None = None, *, name: str = "demo",
    version: str = "1.0", tag: str = "py3-none-any", requires: tuple[str, ...] = (),
    pure: bool = True, text: Callable[[bytes], bytes] = lambda data: data,
    change: Mapping[str, Change] | None = None, more: Mapping[str, bytes] | None = None,
    metadata: str = "", said: str = "", unused: bool = False,
) -> Path:  # fmt: skip
    """A wheel of `files`; `text` changes its RECORD, `change` single entries of the zip.

    `more` are files that RECORD does not name.
    """
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires) + metadata
    about = METADATA.format(name=name, version=said or version, more=needs)
    inside = {
        **(files if files is not None else {f"{name}.py": b"VALUE = 1\n"}),
        f"{info}/METADATA": about.encode(),
        f"{info}/WHEEL": WHEEL.format(pure=str(pure).lower(), tag=tag).encode(),
    }
    own = f"{info}/RECORD"
    whole = {**inside, own: text(record(inside, own)), **(more or {})}
    path = directory / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, data in whole.items():
            made = zipfile.ZipInfo(entry, (2020, 1, 1, 0, 0, 0))
            made.external_attr, made.compress_type = 0o100644 << 16, zipfile.ZIP_DEFLATED
            if change and entry in change:
                change[entry](made)
            archive.writestr(made, data)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rewrite(path: Path, before: bytes, after: bytes) -> None:
    """Change bytes of a file that are there."""
    data = path.read_bytes()
    assert before in data
    path.write_bytes(data.replace(before, after))


REAL = Path("/var/tmp/bootunion-test-wheels")


def real(*specs: str) -> list[Path]:
    """Real wheels from wherever pip gets them, for /usr/bin/python3."""
    REAL.mkdir(exist_ok=True)
    found = []
    for spec in specs:
        name, _, version = spec.partition("==")
        pattern = f"{name.replace('-', '_')}-{version}-*.whl"
        if not list(REAL.glob(pattern)):
            argv = [sys.executable, "-m", "pip", "--python", "/usr/bin/python3", "download", "-q",
                    "--no-deps", "--only-binary=:all:", "-d", str(REAL), spec]  # fmt: skip
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"pip cannot download {spec}: {done.stderr[-200:]}")
        found += sorted(REAL.glob(pattern))[:1]
    return found


def nested(count: int) -> bytes:
    """Many bytes that pack to few."""
    out = io.BytesIO()
    for _ in range(count):
        out.write(bytes(1 << 20))
    return out.getvalue()
