"""Versions are compared as dpkg compares them: by asking dpkg."""

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from bootunion import versions

_text = st.text("0019.+~abZ", max_size=5)
_version = st.builds(
    lambda epoch, digit, text, revision: f"{epoch}{digit}{text}{revision}",
    st.sampled_from(["", "", "0:", "1:"]), st.sampled_from("012"), _text,
    st.sampled_from(["", "-0", "-1", "-1~", "-a", "-1-b", "-01"]),
)  # fmt: skip


@settings(max_examples=400)
@given(_version, _version, st.booleans(), st.sampled_from(["~", "0", ".0", "+b1", "-0", "a"]))
def test_versions_compare_as_dpkg_says(one: str, other: str, near: bool, tail: str) -> None:
    other = one + tail if near else other
    sign = versions.compare(one, other)
    word = "lt" if sign < 0 else "gt" if sign > 0 else "eq"
    argv = ["dpkg", "--compare-versions", one, word, other]
    assert subprocess.run(argv, check=False).returncode == 0
