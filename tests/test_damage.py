"""A damaged .deb is refused in one sentence, or gives the very same package."""

import lzma
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from importing import CONTROL, ar, deb, directory, member, tar

from bootunion.errors import BootunionError
from bootunion.host import importer
from bootunion.host.signing import Signer
from bootunion.host.store import Store


def refusal(file: Path, store: Store, signer: Signer) -> BootunionError:
    with pytest.raises(BootunionError) as caught:
        importer.import_deb(file, store.path, signer, {})
    assert "\n" not in str(caught.value)
    assert not list(store.packages.iterdir())
    return caught.value


def header_of(data: bytes, name: bytes) -> int:
    """Where the ar header of a member begins."""
    return data.index(name)


def damaged(data: bytes) -> dict[str, bytes]:
    control, files = header_of(data, b"control.tar"), header_of(data, b"data.tar")

    def flipped(place: int) -> bytes:
        return data[:place] + bytes([data[place] ^ 0x21]) + data[place + 1 :]

    return {
        "no ar": b"!<arch>\r" + data[8:],
        "empty": b"",
        "magic alone": data[:8],
        "text": b"this is no package\n",
        "another format": b"3.0\n".join(data.split(b"2.0\n", 1)),
        "ar size": flipped(files + 48),
        "ar header's end": flipped(control + 58),
        "member's name": data.replace(b"data.tar", b"lost.tar"),
        "control": flipped(control + 60 + (files - control) // 2),
        "data": flipped((files + len(data)) // 2),
        "garbage after the end": data + b"garbage",
        "half a header after the end": data + data[files : files + 30],
        "no control": data[:control] + data[files:],
        "no data": data[:files],
        "control twice": data[:files] + data[control:files],
    }


@pytest.mark.parametrize("what", sorted(damaged(b"control.tar 2.0\n data.tar" + bytes(200))))
def test_a_damaged_deb_is_refused(
    tmp_path: Path, store: Store, signer: Signer, debs: dict[str, Path], what: str
) -> None:
    file = tmp_path / "bad.deb"
    file.write_bytes(damaged(debs["at"].read_bytes())[what])
    error = refusal(file, store, signer)
    assert error.code == "deb-invalid"
    assert "bad.deb" in str(error)


def test_a_cut_deb_is_refused_wherever_it_was_cut(
    tmp_path: Path, store: Store, signer: Signer, debs: dict[str, Path]
) -> None:
    data = debs["at"].read_bytes()
    control, files = header_of(data, b"control.tar"), header_of(data, b"data.tar")
    near = [place + step for place in (8, control, files) for step in (-1, 0, 1, 30, 59, 60, 61)]
    for length in sorted({*range(0, len(data), len(data) // 15), *near, len(data) - 2}):
        file = tmp_path / "cut.deb"
        file.write_bytes(data[:length])
        assert refusal(file, store, signer).code == "deb-invalid", length


def test_a_further_member_is_passed_over(
    tmp_path: Path, store: Store, signer: Signer, debs: dict[str, Path]
) -> None:
    # deb(5): members after the data are ignored; debsigs puts its signatures there.
    plain = debs["at"].read_bytes()
    signed = tmp_path / "signed.deb"
    signed.write_bytes(plain + ar([("_gpgorigin", b"odd")])[8:])
    made = importer.import_deb(signed, store.path, signer, {})
    assert made.image == importer.import_deb(debs["at"], store.path, signer, {}).image


# What each has in the place of a right tar of its files.
LYING = {
    "cut in a file": tar([member("./f", b"x" * 5000)])[:2000],
    "cut in a header": tar([member("./f", b"x"), member("./g", b"y")])[:1300],
    "ends without its end": tar([member("./f", b"x" * 512)])[:1024] + b"\1" * 512,
    "more than the archive": tar([member("./f", b"x")]).replace(
        b"00000000001\0", b"77777777777\0", 1
    ),
    "broken header": tar([member("./f", b"x"), member("./g", b"y")]).replace(b"./g", b"./h"),
    "no tar": b"words " * 500,
    "something after the end": tar([member("./f", b"x")]) + tar([member("./g", b"y")]),
}


@pytest.mark.parametrize("packed", [bytes, lzma.compress], ids=["plain", "xz"])
@pytest.mark.parametrize("what", LYING)
def test_a_tar_that_lies_is_refused(
    tmp_path: Path, store: Store, signer: Signer, what: str, packed: object
) -> None:
    control = tar([directory("./"), member("./control", CONTROL)])
    file = tmp_path / "bad.deb"
    name = "data.tar" if packed is bytes else "data.tar.xz"
    file.write_bytes(ar([
        ("debian-binary", b"2.0\n"), ("control.tar", control),
        (name, packed(LYING[what])),  # type: ignore[operator]
    ]))  # fmt: skip
    assert refusal(file, store, signer).code == "deb-invalid"


def test_a_size_below_zero_is_refused(tmp_path: Path, store: Store, signer: Signer) -> None:
    # Base-256, as GNU tar writes large numbers (tarfile, CVE-2025-8194).
    info = tarfile.TarInfo("./f")
    raw = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    raw[124:136] = b"\xff" * 11 + b"\x00"
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    file = deb(tmp_path / "bad.deb", [])
    file.write_bytes(ar([
        ("debian-binary", b"2.0\n"),
        ("control.tar", tar([directory("./"), member("./control", CONTROL)])),
        ("data.tar", bytes(raw) + bytes(1024)),
    ]))  # fmt: skip
    assert refusal(file, store, signer).code == "deb-invalid"


def test_a_damaged_control_tar_is_refused(tmp_path: Path, store: Store, signer: Signer) -> None:
    whole = tar([directory("./"), member("./control", CONTROL), member("./md5sums", b"x" * 900)])
    for bad in (whole[:1700], whole[:2000], whole.replace(b"./md5sums", b"./md5sumz"), b"no tar"):
        file = tmp_path / "bad.deb"
        file.write_bytes(ar([
            ("debian-binary", b"2.0\n"), ("control.tar", bad), ("data.tar", tar([])),
        ]))  # fmt: skip
        assert refusal(file, store, signer).code == "deb-invalid"


@pytest.fixture(scope="module")
def small(debs: dict[str, Path]) -> bytes:
    return min(debs.values(), key=lambda file: file.stat().st_size).read_bytes()


PLACES = st.floats(0, 1, exclude_max=True)


@settings(max_examples=80, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(
    changes=st.lists(st.tuples(PLACES, st.binary(min_size=1, max_size=4)), max_size=3),
    end=st.one_of(st.just(1.0), st.just(1.0), PLACES),
    more=st.one_of(st.just(b""), st.binary(max_size=80)),
)
@example(changes=[], end=1.0, more=b"\n")
@example(changes=[], end=1.0, more=b"\0" * 512)
def test_random_damage_is_refused_or_changes_nothing(
    tmp_path: Path, store: Store, signer: Signer, small: bytes,
    changes: list[tuple[float, bytes]], end: float, more: bytes,
) -> None:  # fmt: skip
    whole = tmp_path / "whole.deb"
    if not whole.exists():
        whole.write_bytes(small)
        importer.import_deb(whole, store.path, signer, {})
    before = sorted(store.packages.iterdir())
    data = bytearray(small[: int(len(small) * end)])
    for place, new in changes:
        at = int(len(data) * place)
        data[at : at + len(new)] = new
    bad = tmp_path / "bad.deb"
    bad.write_bytes(bytes(data) + more)
    try:
        importer.import_deb(bad, store.path, signer, {})
    except BootunionError as error:
        assert error.code == "deb-invalid"
        assert "\n" not in str(error)
    assert sorted(store.packages.iterdir()) == before


def test_a_bomb_of_names_that_lead_out_writes_nothing(
    tmp_path: Path, store: Store, signer: Signer
) -> None:
    bomb = [member(f"./{'../' * number}x", b"") for number in range(1, 200)]
    file = deb(tmp_path / "bad.deb", bomb)
    assert refusal(file, store, signer).code == "member-invalid"
    assert not [path for path in tmp_path.parent.iterdir() if path.name == "x"]
