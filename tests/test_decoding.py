"""The quick decoder of contents says what the plain one says."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootunion import contents, decoding
from bootunion.contents import Entry
from bootunion.errors import BootunionError

ROOT = Entry("", contents.DIRECTORY, 0o755, 0, 0)

_TEXT = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=6).filter(
    lambda text: text not in (".", "..")
)
_PATHS = st.lists(_TEXT, min_size=1, max_size=3).map("/".join)
_ENTRIES = st.builds(
    Entry, _PATHS, st.sampled_from(contents.TYPES), st.integers(0, 0o7777),
    st.sampled_from((0, 1000, contents.MAX_ID)), st.just(0),
    st.sampled_from((0, 1, 10**9, contents.MAX_SIZE)), st.sampled_from((0, 5, contents.MAX_SIZE)),
    st.sampled_from(("", "ab" * 32, "x" * 64)), st.one_of(st.just(""), _TEXT), st.just((0, 0)),
    st.sampled_from(((), (("user.a", "00"),))), st.one_of(st.just(""), _PATHS),
)  # fmt: skip


@given(st.lists(_ENTRIES, max_size=5, unique_by=lambda entry: entry.path))
def test_what_is_written_reads_back(found: list[Entry]) -> None:
    data = contents.encode([ROOT, *found])
    plain = list(contents.decode(data, subject="x"))
    assert decoding.decode(data, subject="x") == plain
    assert plain == sorted([ROOT, *found], key=lambda entry: entry.path)


def line(**changes: object) -> bytes:
    full = {"path": "a", "type": "file", "mode": 420, "uid": 0, "gid": 0} | changes
    return json.dumps(full, sort_keys=True, separators=(",", ":")).encode() + b"\n"


FIRST = contents.encode([ROOT])


@pytest.mark.parametrize(
    "data",
    [
        line(path="b") + line(path="a"), line() + line(), line(path="a//b"), line(path="/a"),
        line(path="a/"), line(path="."), line(path=".."), line(path="a/./b"), line(path="../a"),
        line(path="a/.."), line(path="a/."), line(path="x\ny") + line(path="x/../y"),
        line(path="a\0b"), line(target="\0"), line(xattrs={"user.\0": ""}), line(mode=0o10000),
        line(mode=-1), line(mode=True), line(uid=1 << 32), line(gid="0"), line(size=1 << 63),
        line(size=1.0), line(digest="0" * 63), line(digest=None), line(type="socket"),
        line(type=""), line(extra=1), line(device=[1, 3]), line() + b"\n", line() + b"x\n",
        line().replace(b":420", b":0420"), line().replace(b'"gid":0', b'"gid":00'),
        line().replace(b'"uid":0', b'"uid":01'), line(mtime=5).replace(b":5", b":05"),
        line(size=5).replace(b":5", b":05"), line().replace(b',"path"', b',\r"path"'),
        line().replace(b"420", b"4\r\n20"),
        line(path="b") + b'{"path":"a"', b"[]\n", b"\n", line().decode().encode("utf-16"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_entry_is_refused_with_the_plain_decoder_s_words(data: bytes) -> None:
    said = []
    for decode in (contents.decode, decoding.decode):
        with pytest.raises(BootunionError) as caught:
            list(decode(FIRST + data, subject="x"))
        assert caught.value.code == "contents-invalid"
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_a_root_that_is_no_directory_is_refused() -> None:
    with pytest.raises(BootunionError) as caught:
        decoding.decode(contents.encode([ROOT._replace(type=contents.FILE)]), subject="x")
    assert caught.value.code == "contents-invalid"


def test_plain_lines_go_the_quick_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Otherwise nothing but the time it takes would tell that the two have parted."""
    paths = ("a", "a b", "a.b", "a:b=c,d", "usr/lib/x-1.0~rc1+b2", "x/..y", "x/.z")
    entries = [
        ROOT,
        *(Entry(path, contents.FILE, 0o644, 0, 0, 1, 2, "ab" * 32) for path in paths),
        Entry("y", contents.SYMLINK, 0o777, 0, 0, 1, target="/a/../b"),
        Entry("z", contents.FILE, 0o4755, 0, 1, 1, 2, "ab" * 32, hard_link="a"),
    ]
    monkeypatch.setattr(contents, "entry_of", None)
    monkeypatch.setattr(decoding, "entry_of", None)
    assert decoding.decode(contents.encode(entries), subject="x") == sorted(entries)
