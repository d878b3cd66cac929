"""A mkfs.erofs that can read a tar: the host's, or Debian 13's out of the cache."""

import os
import subprocess
import sys
from pathlib import Path

import composing
import pytest

sys.path.insert(0, str(composing.TOP / "scripts"))
import erofs_utils


def directory(suite: str = "trixie") -> Path:
    """The directory of a suite's mkfs.erofs; the test is skipped where there is no way to it."""
    try:
        return erofs_utils.tools(composing.CACHE, suite)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no mkfs.erofs that can read a tar: {error}")


def put_first(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
