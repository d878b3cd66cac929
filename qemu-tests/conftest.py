"""Shared by the scenarios: the demo's Debian, composed once."""

import os

import pytest
import scenario
from scenario import Debian


@pytest.fixture(scope="session")
def debian() -> Debian:
    if os.geteuid() != 0:
        pytest.skip("composing needs root")
    return scenario.make()
