"""The whole walk: each path of the demo's union is what its plan says (issue 4, point 1)."""

import sys
from pathlib import Path

import scenario
from scenario import Debian

sys.path.insert(0, str(scenario.TOP / "bench"))
import union


def test_each_path_of_the_demo_is_what_its_plan_says(debian: Debian, tmp_path: Path) -> None:
    found = union.walk(debian.store, debian.trust, "demo", tmp_path / "union")
    assert found.differences == []
    assert found.layers > 150
    assert found.paths > 15_000
    assert found.contested  # the generated layer's, at least
