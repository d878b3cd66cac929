"""A request names lists and packages; nothing else can be said, and nothing is guessed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootunion.errors import BootunionError
from bootunion.helper import protocol
from bootunion.helper.protocol import Granted, Request

GOOD = {"schema": 1, "list": "base@3", "with": ["lib=1.0"], "without": ["tool"]}
TRICKS = (
    "../../etc", "/etc", "etc/passwd", ".", "..", ".hidden", "-o", "--bind", "a\0b", "a\nb", "a b",
    "a/../b", "a=../1", "a=/etc", "a=", "=1", "a=1=2", "base@../1", "\uff052e", "é", "\ud800",
    "a" * 129, "a" * 300, "a=" + "1" * 129,
    "a,lowerdir=/etc", "a:b", "$(id)", "`id`", "a;b", "*", "%00", "a\u202eb",
)  # fmt: skip
GENERATIONS = ("base@", "base@0", "base@-1", "base@01", "base@1@2", "base@1 ", "@1")


def encoded(**fields: object) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


def refused(data: bytes) -> str:
    with pytest.raises(BootunionError) as caught:
        protocol.decode_request(data)
    return caught.value.code


def test_a_request_comes_back_as_it_was() -> None:
    for request in (
        Request("base", 3, ("lib=1.0", "0123456789abcdef"), ("tool",)),
        Request("base"),
        Request(with_=("lib",)),
    ):
        assert protocol.decode_request(request.encode()) == request


@pytest.mark.parametrize("field", ["list", "with", "without"])
@pytest.mark.parametrize("text", TRICKS, ids=ascii)
def test_a_path_or_an_option_is_no_name(field: str, text: str) -> None:
    value: object = text if field == "list" else [text]
    assert refused(encoded(**{field: value})) == "helper-request-invalid"


@pytest.mark.parametrize("text", GENERATIONS)
def test_a_generation_is_a_number(text: str) -> None:
    assert refused(encoded(list=text)) == "helper-request-invalid"


@pytest.mark.parametrize(
    "fields",
    [
        {"base": "/"}, {"base": ""}, {"path": "/etc"}, {"target": "/etc"}, {"store": "/tmp"},
        {"trust": "/tmp"}, {"options": ["suid"]}, {"schema": 2}, {"schema": True}, {"schema": "1"},
        {"list": None}, {"list": 1}, {"list": ["base"]}, {"list": "base@9007199254740992"},
        {"with": None}, {"with": "lib"}, {"with": [1]}, {"with": [["lib"]]}, {"with": {"a": "b"}},
        {"with": ["lib", "lib"]}, {"with": [f"p{n}" for n in range(501)]}, {"without": [None]},
        {"list": "", "with": []}, {"list": "", "with": ["a"], "without": ["b"]},
    ],
    ids=str,
)  # fmt: skip
def test_fields_are_strict(fields: dict[str, object]) -> None:
    assert refused(encoded(**fields)) == "helper-request-invalid"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", b"{}", b"[]", b"null", b"1", b'"base"', b"{" * 60000, b"[" * 60000,
        b"\xff\xfe", b"\xef\xbb\xbf" + encoded(), encoded() + b"x", encoded() * 2,
        b'{"schema":1,"schema":1,"list":"base","with":[],"without":[]}',
        b'{"schema":1.0,"list":"base","with":[],"without":[]}',
        b'{"schema":NaN,"list":"base","with":[],"without":[]}',
        encoded(list="a" * 70000), b" " * 65537,
    ],
    ids=lambda data: ascii(data[:30]),
)  # fmt: skip
def test_what_is_no_request_is_refused(data: bytes) -> None:
    assert refused(data) == "helper-request-invalid"


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda one: encoded(list=one)))
def test_whatever_is_sent_is_a_request_or_refused(data: bytes) -> None:
    try:
        request = protocol.decode_request(data)
    except BootunionError as error:
        assert error.code == "helper-request-invalid"
        assert len(protocol.encode_refusal(error)) <= protocol.MAX_SIZE
    else:
        assert "/" not in repr(request)


def test_what_is_granted_comes_back_as_it_was() -> None:
    for granted in (Granted("base", 3, ("0" * 64,)), Granted("", 0, ("f" * 64,) * 500)):
        data = granted.encode()
        assert len(data) <= protocol.MAX_SIZE
        assert protocol.decode_answer(data) == granted


def test_a_refusal_is_raised_as_what_it_is() -> None:
    said = BootunionError("signature-untrusted", "no" + "\U0001f600" * 5000, subject="lib" * 5000)
    data = protocol.encode_refusal(said)
    assert len(data) <= protocol.MAX_SIZE
    with pytest.raises(BootunionError) as caught:
        protocol.decode_answer(data)
    assert caught.value.code == "signature-untrusted" and caught.value.message.startswith("no")


@pytest.mark.parametrize(
    "answer",
    [
        {"schema": 1, "refused": {"code": "made-up", "subject": "", "message": "", "way_out": ""}},
        {"schema": 1, "refused": "no"},
        {"schema": 1, "list": "", "generation": 0, "packages": ["../x"]},
        {"schema": 1, "list": "/etc", "generation": 0, "packages": []},
        {"schema": 1},
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_that_is_none_is_not_believed(answer: object) -> None:
    with pytest.raises(BootunionError) as caught:
        protocol.decode_answer(json.dumps(answer).encode())
    assert caught.value.code == "helper-failed"
