"""What the agent has of its own so that a boot need not import re, json, contextlib and hashlib.

Each is compared with what it stands for.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootunion import canonical, cmdline, dsse, json_c, package, sha256, systemlist
from bootunion.errors import BootunionError
from bootunion.fields import HEX_DIGEST, Fields
from bootunion.initrd import scopes
from bootunion.spelling import Spelling

TOP = Path(__file__).resolve().parents[1]

# What each spelling is for, as a regular expression.
SPELT: dict[str, tuple[Callable[[str], bool], str]] = {
    "name": (package.NAME.match, r"[A-Za-z0-9][A-Za-z0-9.+_@-]{0,127}\Z"),
    "version": (package.VERSION.match, r"[A-Za-z0-9][A-Za-z0-9.+~_:^-]{0,127}\Z"),
    "architecture": (package.ARCHITECTURE.match, r"[a-z0-9][a-z0-9_-]{0,31}\Z"),
    "file": (package.FILE_NAME.match, r"[A-Za-z0-9][A-Za-z0-9.+~_@%^-]{0,250}\Z"),
    "list": (systemlist.LIST_NAME.match, r"[a-z0-9][a-z0-9._-]{0,63}\Z"),
    "kernel": (systemlist.KERNEL_RELEASE.match, r"[A-Za-z0-9][A-Za-z0-9.+~_-]{0,63}\Z|\Z"),
    "generation": (systemlist.GENERATION.match, r"[1-9][0-9]{0,15}\Z"),
    "digest": (HEX_DIGEST.match, r"[0-9a-f]{64}\Z"),
    "unit": (systemlist.is_unit,
             r"[A-Za-z0-9:_.\\@-]{1,200}\.(?:service|socket|target|mount|path|timer)\Z"),
}  # fmt: skip
ODD = ["", ".", "-a", "a\n", "a\0", "ä", "\ud800", "?", "a?", "a b", "a/b", "0", "01", "9" * 17,
       "a" * 64, "A" * 64, "f" * 63, "f" * 65, "x" * 251, "x" * 252, "\uff41", "\u0661", ".service",
       "a.service", "a.Service", "a.service\n", "a.b", "é.mount", "x" * 201 + ".path"]  # fmt: skip


@pytest.mark.parametrize("what", SPELT)
@given(data=st.data())
def test_a_spelling_is_its_regular_expression(what: str, data: st.DataObject) -> None:
    matches, expression = SPELT[what]
    near = st.from_regex(re.compile(expression)) | st.from_regex(re.compile(expression)).map(
        lambda text: text + "!"
    )
    text = data.draw(st.sampled_from(ODD) | st.text(max_size=80) | near)
    assert matches(text) == (re.match(expression, text) is not None)


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("what", SPELT)
def test_odd_names_are_spelt_as_before(what: str, text: str) -> None:
    matches, expression = SPELT[what]
    assert matches(text) == (re.match(expression, text) is not None)


def test_an_empty_text_is_spelt_right_only_where_it_may_be() -> None:
    assert Spelling("a", "ab", 3, least=0).match("")
    assert not Spelling("a", "ab", 3).match("")


@given(st.text(alphabet=' "ab=-\t\n\x1f\xa0'))
def test_a_command_line_is_split_as_before(text: str) -> None:
    separate = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
    assert cmdline._words(text) == separate.findall(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_json_is_written_as_before(value: object) -> None:
    wanted = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    assert json_c.text(value, ",", ":", sort_keys=True) == wanted
    assert json_c.text(value, ", ", ": ") == json.dumps(value)


def refused(_: str) -> None:
    raise ValueError


JSON_TEXTS = VALUES.map(json.dumps) | st.text(alphabet='{}[]",:0123456789.eE+- \n\t\\u"tfnNI')


@given(JSON_TEXTS)
def test_json_is_read_as_before(text: str) -> None:
    decoder = json.JSONDecoder(object_pairs_hook=dict, parse_float=refused, parse_constant=refused)
    try:
        wanted = decoder.decode(text)
    except (ValueError, RecursionError):
        with pytest.raises((ValueError, RecursionError)):
            json_c.parse(text, dict, refused)
    else:
        assert json_c.parse(text, dict, refused) == wanted


@pytest.mark.parametrize("value", [1.5, float("nan"), b"", object(), {1.5: 2}])
def test_what_has_no_place_in_a_document_is_not_written(value: object) -> None:
    if value == 1.5 or isinstance(value, dict):  # JSON has it; documents are read without it
        data = canonical.encode(value)
        with pytest.raises(BootunionError) if value == 1.5 else contextlib.nullcontext():
            canonical.decode(data, subject="x")
    else:
        with pytest.raises((TypeError, ValueError)):
            canonical.encode(value)


def test_a_python_without_the_c_half_reads_and_writes_the_same() -> None:
    code = """
import sys
sys.modules["_json"] = None
from bootunion import canonical
data = b'{"a":[1,"\\\\u00e4"],"b":null}\\n'
assert canonical.encode(canonical.decode(data, subject="x")) == data
for wrong in (b'{"a":1,"a":2}', b"[1.5]", b"[NaN]", b"[1] 2", b"", b"[" * 100_000):
    try:
        canonical.decode(wrong, subject="x")
    except canonical.BootunionError as error:
        assert error.code == "json-invalid"
    else:
        raise AssertionError(wrong)
print("same")
"""
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.stdout == "same\n", done.stderr


@given(st.binary(max_size=300))
def test_the_hash_is_sha256(data: bytes) -> None:
    assert sha256.hex_digest(data) == hashlib.sha256(data).hexdigest()


@given(st.binary(max_size=40), st.data())
def test_base64_has_one_spelling(raw: bytes, data: st.DataObject) -> None:
    """Of all texts that stand for the same bytes, the canonical one alone is taken."""
    text = base64.b64encode(raw).decode()
    assert dsse._base64(Fields({}, code="x", subject="x"), "sig", text) == raw
    at = data.draw(st.integers(0, max(len(text) - 1, 0)))
    letter = data.draw(st.sampled_from("ABab01+/=\n -_é"))
    other = text[:at] + letter + text[at + 1 :]
    fields = Fields({}, code="envelope-invalid", subject="x")
    try:
        found = dsse._base64(fields, "sig", other)
    except BootunionError:
        return
    assert base64.b64encode(found).decode() == other


@pytest.mark.parametrize(
    "value", [" " + "a" * 63, "A" * 64, "a" * 63, "a" * 65, "g" * 64, 5, None, "a" * 62 + " a"]
)
def test_a_digest_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(BootunionError):
        Fields({"d": value}, code="list-invalid", subject="x").digest("d")


@pytest.mark.parametrize("value", [True, 1.0, "1", 2, None])
def test_a_constant_is_a_number(value: object) -> None:
    fields = Fields({"one": value}, code="list-invalid", subject="x")
    with pytest.raises(BootunionError):
        fields.constant("one", 1)
    Fields({"one": 1}, code="list-invalid", subject="x").constant("one", 1)


def test_a_stack_does_everything_last_first_and_raises_the_first_error() -> None:
    done: list[int] = []

    def do(number: int, *, wrong: bool = False) -> None:
        done.append(number)
        if wrong:
            raise OSError(number, "wrong")

    with pytest.raises(OSError, match="wrong") as error, scopes.Stack() as stack:
        for number in range(4):
            stack.callback(lambda one: do(one, wrong=one in (1, 2)), number)
    assert done == [3, 2, 1, 0]
    assert error.value.errno == 2


def test_a_stack_that_was_emptied_does_nothing() -> None:
    done: list[int] = []
    with scopes.Stack() as stack:
        stack.callback(done.append, 1)
        stack.pop_all()
        with contextlib.closing(contextlib.ExitStack()) as inner:
            stack.enter_context(inner)
    assert done == []


def test_suppress_suppresses_its_own_only() -> None:
    with scopes.suppress(FileNotFoundError, ValueError):
        raise FileNotFoundError
    with pytest.raises(PermissionError), scopes.suppress(FileNotFoundError):
        raise PermissionError


def test_the_agent_loads_none_of_them(tmp_path: Path) -> None:
    """In the mode in which it boots, up to its imports and one signature that is checked."""
    code = """
import sys
sys.path.append(sys.argv[1])
import bootunion.initrd.agent
from bootunion import signature
signature.verifies(bytes(32), bytes(64), b"")
print(*{"re", "json", "contextlib", "collections", "hashlib", "base64"} & set(sys.modules))
"""
    argv = ["/usr/bin/python3", "-I", "-S", "-E", "-B", "-c", code, str(TOP)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "\n"
