"""Names from a package, as they are shown and written."""

import json

from hypothesis import given
from hypothesis import strategies as st

from bootunion import text


@given(st.text(st.characters(exclude_categories=())))
def test_any_name_can_be_written_and_shown(name: str) -> None:
    assert json.loads(json.dumps(text.encodable(name)).encode()) == text.encodable(name)
    text.encodable(name).encode()
    assert text.printable(name).isprintable()


def test_what_is_escaped_can_be_told() -> None:
    name = b"caf\xc3\xa9 \xff\x1b[2J\n\xe2\x80\xae".decode("utf-8", "surrogateescape")
    assert text.encodable(name) == "café \\xff\x1b[2J\n\u202e"
    assert text.printable(name) == "café \\xff\\x1b[2J\\n\\u202e"
    assert text.printable("\ud800") == "\\ud800"
    assert text.printable("plain") == text.encodable("plain") == "plain"
