"""Wheels that nobody should make are refused, and leave nothing."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import wheelmaking
from hypothesis import given, settings
from hypothesis import strategies as st
from wheelmaking import digest, wheel

from bootunion.errors import BootunionError
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.host.wheels import archive, importing, interpreter, record

INFO = "demo-1.0.dist-info"


@pytest.fixture(scope="session")
def python() -> interpreter.Interpreter:
    return interpreter.ask("/usr/bin/python3")


Refuse = Callable[[Path], BootunionError]


@pytest.fixture
def refused(store: Store, signer: Signer, python: interpreter.Interpreter) -> Refuse:
    def take(path: Path) -> BootunionError:
        with pytest.raises(BootunionError) as caught:
            importing.import_wheel(path, store.path, signer, python)
        assert list(store.packages.iterdir()) == []
        return caught.value

    return take


def test_a_changed_file_is_refused(refused: Refuse, tmp_path: Path) -> None:
    path = wheel(tmp_path, {"demo.txt": b"x"}, text=lambda text: text.replace(
        digest(b"x").encode(), digest(b"y").encode()))  # fmt: skip
    error = refused(path)
    assert (error.code, "not what its RECORD says" in str(error)) == ("wheel-invalid", True)


def test_an_empty_file_in_the_place_of_another_is_refused(refused: Refuse, tmp_path: Path) -> None:
    path = wheel(tmp_path, {"demo.txt": b""}, text=lambda text: text.replace(
        f"{digest(b'')},0".encode(), f"{digest(b'x')},".encode()))  # fmt: skip
    assert "not what its RECORD says" in str(refused(path))


def test_a_changed_module_is_refused_before_it_is_compiled(refused: Refuse, tmp_path: Path) -> None:
    path = wheel(tmp_path, {"demo.py": b"x"}, text=lambda text: text.replace(
        digest(b"x").encode(), digest(b"y").encode()))  # fmt: skip
    assert "not what its RECORD says" in str(refused(path))


def test_a_file_that_record_does_not_name_is_refused(refused: Refuse, tmp_path: Path) -> None:
    error = refused(wheel(tmp_path, more={"evil.py": b"pass"}))
    assert "of which its RECORD has no digest" in str(error)


def test_a_file_without_a_digest_is_refused(refused: Refuse, tmp_path: Path) -> None:
    path = wheel(tmp_path, {"demo.txt": b"x"}, text=lambda text: text.replace(
        f"{digest(b'x')},1".encode(), b","))  # fmt: skip
    assert "has no digest" in str(refused(path))


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha224"])
def test_weak_digests_are_refused(refused: Refuse, tmp_path: Path, algorithm: str) -> None:
    path = wheel(tmp_path, {"demo.txt": b"x"}, text=lambda text: text.replace(
        digest(b"x").encode(), digest(b"x", algorithm).encode()))  # fmt: skip
    assert "sha256 or better" in str(refused(path))


def test_a_strong_digest_is_taken(
    store: Store, signer: Signer, python: interpreter.Interpreter, tmp_path: Path
) -> None:
    path = wheel(tmp_path, {"demo.txt": b"x"}, text=lambda text: text.replace(
        digest(b"x").encode(), digest(b"x", "sha512").encode()))  # fmt: skip
    importing.import_wheel(path, store.path, signer, python)


@pytest.mark.parametrize("text", [
    lambda text: text + b"gone.py," + digest(b"").encode() + b",0\n",
    lambda text: text + text,
    lambda text: text.replace(b",1\n", b",2\n"),
    lambda text: b"\xff\xfe" + text,
    lambda text: text + b"a,b\n",
    lambda text: text + b'"' + bytes(200_000),
    lambda _: b"",
])  # fmt: skip
def test_a_record_that_lies_is_refused(
    refused: Refuse, tmp_path: Path, text: Callable[[bytes], bytes]
) -> None:
    assert refused(wheel(tmp_path, {"demo.txt": b"x"}, text=text)).code == "wheel-invalid"


@pytest.mark.parametrize("name", [
    "../evil.py", "/etc/evil", "a/../../evil", "./evil.py", "a//b", "..", "a/..", "a\\..\\b",
    "a\nb",
    "\x1b[2J",
    "demo-1.0.data/scripts/../../x", "demo-1.0.data/other/x", "demo-1.0.data/data/../../../x",
    "demo-1.0.data/x", "x" * 300,
])  # fmt: skip
def test_a_path_that_leads_elsewhere_is_refused(refused: Refuse, tmp_path: Path, name: str) -> None:
    assert refused(wheel(tmp_path, {name: b"x"})).code in ("wheel-invalid", "member-invalid")


def test_names_that_are_no_utf8_are_refused(refused: Refuse, tmp_path: Path) -> None:
    path = wheel(tmp_path, {"demo_zz.txt": b"x"})
    wheelmaking.rewrite(path, b"demo_zz.txt", b"demo_\xe9\xff.txt")
    assert "not marked as UTF-8" in str(refused(path))


def test_a_name_that_ends_at_a_nul_is_refused(refused: Refuse, tmp_path: Path) -> None:
    path = wheel(tmp_path, {"demo.py.zz": b"x"})
    wheelmaking.rewrite(path, b"demo.py.zz", b"demo.py\0zz")
    assert "whose name means another one" in str(refused(path))


def test_two_entries_of_one_name_are_refused(refused: Refuse, tmp_path: Path) -> None:
    path = wheel(tmp_path, {"demo_a.py": b"x", "demo_b.py": b"x"})
    wheelmaking.rewrite(path, b"demo_b.py", b"demo_a.py")
    assert refused(path).code == "path-conflict"


def test_two_files_at_one_place_are_refused(refused: Refuse, tmp_path: Path) -> None:
    path = wheel(tmp_path, {"demo.py": b"x", "demo-1.0.data/purelib/demo.py": b"y"})
    assert refused(path).code == "path-conflict"


def test_a_file_below_a_file_is_refused(refused: Refuse, tmp_path: Path) -> None:
    assert refused(wheel(tmp_path, {"demo": b"x", "demo/x.txt": b"y"})).code == "path-conflict"


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o060666, 0o010644, 0o140777, 0o040755])
def test_what_is_no_plain_file_is_refused(refused: Refuse, tmp_path: Path, mode: int) -> None:
    def change(info: zipfile.ZipInfo) -> None:
        info.external_attr = mode << 16

    path = wheel(tmp_path, {"demo.txt": b"/etc/passwd"}, change={"demo.txt": change})
    assert refused(path).code == "wheel-invalid"


def test_setuid_is_not_taken_over(
    store: Store, signer: Signer, python: interpreter.Interpreter, tmp_path: Path
) -> None:
    def change(info: zipfile.ZipInfo) -> None:
        info.external_attr = 0o106755 << 16

    path = wheel(tmp_path, {"demo.bin": b"x"}, change={"demo.bin": change})
    made = importing.import_wheel(path, store.path, signer, python)
    modes = {one.mode for one in store.entries(made) if one.path.endswith("demo.bin")}
    assert modes == {0o755}


def test_a_bomb_is_refused_before_it_is_unpacked(refused: Refuse, tmp_path: Path) -> None:
    path = wheel(tmp_path, {"demo.txt": wheelmaking.nested(300)})
    assert path.stat().st_size < 1 << 20
    assert "unpack to" in str(refused(path))


def test_entries_that_share_their_bytes_are_refused(refused: Refuse, tmp_path: Path) -> None:
    path = wheel(tmp_path, {"demo_a.py": b"x" * 50, "demo_b.py": b"x" * 50})
    with zipfile.ZipFile(path) as opened:
        place = {info.filename: info.header_offset for info in opened.infolist()}
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\x01\x02", 0, data.rindex(b"demo_b.py"))
    assert struct.unpack_from("<I", data, central + 42)[0] == place["demo_b.py"]
    struct.pack_into("<I", data, central + 42, place["demo_a.py"] + 1)
    path.write_bytes(data)
    assert "inside another entry" in str(refused(path))


@pytest.mark.parametrize("size", [1, 49, 51, 1 << 20])
def test_a_size_that_is_a_lie_is_refused(refused: Refuse, tmp_path: Path, size: int) -> None:
    content = b"x" * 50
    path = wheel(tmp_path, {"demo.txt": content},
                 text=lambda text: text.replace(b",50\n", b",%d\n" % size))  # fmt: skip
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\x01\x02", 0, data.rindex(b"demo.txt"))
    struct.pack_into("<I", data, central + 24, size)
    path.write_bytes(data)
    assert refused(path).code == "wheel-invalid"


def test_an_encrypted_entry_is_refused(refused: Refuse, tmp_path: Path) -> None:
    path = wheel(tmp_path, {"demo.txt": b"x"})
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\x01\x02", 0, data.rindex(b"demo.txt"))
    struct.pack_into("<H", data, central + 8, 1)
    path.write_bytes(data)
    assert "encrypted" in str(refused(path))


def test_another_packing_is_refused(refused: Refuse, tmp_path: Path) -> None:
    def change(info: zipfile.ZipInfo) -> None:
        info.compress_type = zipfile.ZIP_LZMA

    path = wheel(tmp_path, {"demo.txt": b"x"}, change={"demo.txt": change})
    assert "wheels are deflated" in str(refused(path))


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_truncated_file_is_refused(refused: Refuse, tmp_path: Path, cut: int) -> None:
    path = wheel(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    assert refused(path).code == "wheel-invalid"


def test_a_file_that_is_not_there_is_one_sentence(refused: Refuse, tmp_path: Path) -> None:
    assert refused(tmp_path / "demo-1.0-py3-none-any.whl").code == "file-missing"


@pytest.mark.parametrize("name", ["demo.whl", "demo-1.0-py3.whl", "demo-x-py3-none-any.whl"])
def test_a_file_name_that_is_no_wheels_is_refused(
    refused: Refuse, tmp_path: Path, name: str
) -> None:
    assert refused(wheel(tmp_path).rename(tmp_path / name)).code == "wheel-invalid"


def test_a_wheel_that_says_it_is_another_is_refused(refused: Refuse, tmp_path: Path) -> None:
    assert "says" in str(refused(wheel(tmp_path, said="2.0")))
    other = wheel(tmp_path, name="other").rename(tmp_path / "demo-1.0-py3-none-any.whl")
    assert "another project's" in str(refused(other))


def test_an_unknown_format_is_refused(refused: Refuse, tmp_path: Path) -> None:
    path = wheel(tmp_path, {f"{INFO}/x": b""})
    before, after = b"Wheel-Version: 1.0", b"Wheel-Version: 2.0"
    with zipfile.ZipFile(path) as opened:
        parts = {info.filename: opened.read(info) for info in opened.infolist()}
    parts[f"{INFO}/WHEEL"] = parts[f"{INFO}/WHEEL"].replace(before, after)
    del parts[f"{INFO}/RECORD"]
    parts[f"{INFO}/RECORD"] = wheelmaking.record(parts, f"{INFO}/RECORD")
    with zipfile.ZipFile(path, "w") as made:
        for name, data in parts.items():
            made.writestr(name, data)
    assert "1.x is known" in str(refused(path))


@settings(max_examples=150)
@given(st.data())
def test_damaged_bytes_never_end_in_anything_but_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("damaged")
    path = wheel(directory, {"demo.txt": b"some text " * 20, "demo-1.0.data/data/x": b"y"})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        with archive.Archive(path) as opened:
            for name, recorded in record.parse(opened.read(f"{INFO}/RECORD")).items():
                if recorded is not None and name in opened.files:
                    opened.open(name, recorded).read()
    except BootunionError as error:
        assert error.code in ("wheel-invalid", "path-conflict")
    except ValueError:
        pass  # RECORD's own words, which `unpacking` gives a code
