"""What a file needs of others is read from its bytes as they pass, whatever they are."""

import re
import struct
import subprocess
from pathlib import Path

import elves
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootunion import contents
from bootunion.contents import LOADER_CACHE, Entry, Linking
from bootunion.errors import BootunionError
from bootunion.host import build, linking, packaging
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store

LOADER = "/lib64/ld-linux-x86-64.so.2"


def read(data: bytes, path: str = "x", mode: int = 0o755, step: int = 1 << 20) -> Linking | None:
    reader = linking.Reader(path, mode)
    for start in range(0, len(data), step):
        reader.update(data[start : start + step])
    return reader.linking()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("wide", [True, False])
def test_an_elf_file_tells_what_it_needs(order: str, wide: bool) -> None:
    data = elves.elf("liba.so.1", "libc.so.6", soname="libx.so", interpreter=LOADER,
                     runpath="$ORIGIN/../lib:/opt/x", order=order, wide=wide)  # fmt: skip
    machine = "64-x86-64" if wide else "32-x86-64"
    assert read(data) == Linking(
        machine, LOADER, ("liba.so.1", "libc.so.6"), "libx.so", ("$ORIGIN/../lib", "/opt/x")
    )


def test_the_machine_names_the_byte_order_where_there_are_two() -> None:
    names = [read(elves.elf(machine=number, order=order)) for number, order in
             ((21, "<"), (21, ">"), (elves.AARCH64, "<"), (9999, "<"))]  # fmt: skip
    machines = [one.machine for one in names if one]
    assert machines == ["64-ppc64le", "64-ppc64be", "64-aarch64", "64-9999"]


def test_runpath_counts_before_rpath() -> None:
    both, old = read(elves.elf(rpath="/old", runpath="/new")), read(elves.elf(rpath="/old"))
    assert both is not None and both.search == ("/new",)
    assert old is not None and old.search == ("/old",)


@pytest.mark.skipif(not Path("/usr/bin/readelf").exists(), reason="needs binutils")
def test_real_programs_read_as_readelf_reads_them() -> None:
    found = 0
    for path in sorted(Path("/usr/bin").iterdir()):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 4 << 20:
            continue
        data = path.read_bytes()
        if not data.startswith(b"\x7fELF"):
            continue
        said = subprocess.run(["readelf", "-Wdl", path], capture_output=True, text=True, check=True)
        got = read(data)
        assert got is not None
        assert got.needed == tuple(re.findall(r"\(NEEDED\).*\[(.*)\]", said.stdout)), path
        program = re.findall(r"program interpreter: (.*)\]", said.stdout)
        assert [got.interpreter] == (program or [""]), path
        found += 1
        if found == 60:
            break
    assert found > 20


@pytest.mark.parametrize("step", [7, 1000, 4096, 1 << 20, 1 << 30])
def test_it_does_not_matter_how_the_bytes_come(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "_MAX_HEAD", 20_000)
    data = elves.elf("liba.so.1", interpreter=LOADER, padding=50_000)
    assert read(data, step=step) == Linking("64-x86-64", LOADER, ("liba.so.1",))


def test_of_a_large_file_only_what_is_needed_is_kept() -> None:
    for data, most in ((b"\x7fELF" + bytes(1 << 20), 256), (bytes(1 << 20), 256),
                       (b"#!/bin/sh\n" + bytes(1 << 20), 256)):  # fmt: skip
        reader = linking.Reader("x", 0o755)
        reader.update(data)
        assert len(reader._head) <= most


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"#!/bin/sh\n", Linking(interpreter="/bin/sh")),
        (b"#! \t/usr/bin/perl -w\n", Linking(interpreter="/usr/bin/perl")),
        (b"#!/usr/bin/env python3\n", Linking(interpreter="/usr/bin/env", needed=("python3",))),
        (b"#!/usr/bin/env -S A=b x -y\n", Linking(interpreter="/usr/bin/env", needed=("x",))),
        (b"#!/bin/sh\r\n", Linking(interpreter="/bin/sh\r")),  # the kernel takes it literally
        (b"#!\n", None),
        (b"#", None),
        (b"", None),
    ],
)
def test_a_script_tells_its_interpreter(line: bytes, expected: Linking | None) -> None:
    assert read(line) == expected
    assert read(line + b"#" * 100_000) == expected
    assert read(line, mode=0o644) is None


def cache(*paths: str, before: bytes = b"") -> bytes:
    place = 48 + 24 * len(paths)
    entries = strings = b""
    for path in paths:
        entries += struct.pack("=iIIIQ", 0x303, 0, place + len(strings), 0, 0)
        strings += path.encode() + b"\0"
    head = b"glibc-ld.so.cache1.1" + struct.pack("=II", len(paths), len(strings)) + bytes(20)
    return before + head + entries + strings


def test_the_loaders_cache_tells_its_directories() -> None:
    data = cache("/usr/lib/b/x.so", "/lib/a/y.so", "/lib/a/z.so", before=b"ld.so-1.7.0\0")
    assert read(data, "etc/ld.so.cache", 0o644) == Linking(
        LOADER_CACHE, search=("/lib/a", "/usr/lib/b")
    )
    assert read(data, "etc/other", 0o644) is None
    assert read(data[:-30], "etc/ld.so.cache", 0o644) is None


@given(st.binary(max_size=300), st.sampled_from(["x", "etc/ld.so.cache"]), st.integers(0, 3))
def test_no_bytes_are_more_than_not_understood(data: bytes, path: str, head: int) -> None:
    magic = (b"", b"\x7fELF\x02\x01\x01", b"#!", b"glibc-ld.so.cache1.1")[head]
    read(magic + data, path)


_SEEDS = [
    elves.elf("liba.so.1", "libb.so.2", soname="s", interpreter=LOADER, runpath="/a:/b"),
    elves.elf("liba.so.1", wide=False, order=">"),
    cache("/a/b", "/c/d"),
]


@given(
    st.sampled_from(_SEEDS),
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from([1, 4, 8]),
                       st.sampled_from([0, 1, 0x7F, 0x80, 0xFF])), max_size=6),
    st.integers(0, 500),
)  # fmt: skip
def test_damaged_files_give_nothing_or_texts_within_bounds(
    seed: bytes, changes: list[tuple[int, int, int]], cut: int
) -> None:
    data = bytearray(seed)
    for place, width, value in changes:
        data[place : place + width] = bytes([value]) * width
    for path in ("x", "etc/ld.so.cache"):
        found = read(bytes(data[:cut] if cut > 100 else data), path)
        if found is not None:
            encoded = contents.encode([Entry("x", contents.FILE, 0o755, 0, 0, linking=found)])
            (back,) = contents.decode(encoded, subject="x")
            assert back.linking == found
            assert len(encoded) < 100_000


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("place", range(16, 176))
def test_no_number_in_the_headers_is_taken_at_its_word(place: int, wide: bool) -> None:
    seed = elves.elf("liba.so.1", interpreter=LOADER, wide=wide)
    for value in (bytes(8), b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\0" * 7 + b"\x80"):
        data = seed[:place] + value + seed[place + 8 :]
        read(data)
        read(data + bytes(5000))  # as a file that is recognised while it passes


@pytest.mark.parametrize(
    "linking",
    ["[]", '"x"', "null", '{"machine":1}', '{"needed":"libc"}', '{"needed":[1]}', '{"other":""}',
     '{"search":{"a":1}}', '{"needed":null}'],
)  # fmt: skip
def test_linking_of_another_form_is_refused(linking: str) -> None:
    line = f'{{"path":"x","type":"file","mode":1,"uid":0,"gid":0,"linking":{linking}}}\n'
    with pytest.raises(BootunionError) as caught:
        list(contents.decode(line.encode(), subject="x"))
    assert caught.value.code == "contents-invalid"


def test_a_directory_that_is_built_notes_it(store: Store, signer: Signer, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "program").write_bytes(elves.elf("libc.so.6", interpreter=LOADER))
    (tree / "script").write_text("#!/bin/sh\n")
    (tree / "script").chmod(0o755)
    (tree / "text").write_text("#!/bin/sh\n")
    (tree / "twin").hardlink_to(tree / "script")
    made = packaging.write_package(
        store, build.members(tree), Description("p", "1", "all"), None, signer
    )
    assert {one.path: one.linking for one in store.entries(made)} == {
        "": None,
        "program": Linking("64-x86-64", LOADER, ("libc.so.6",)),
        "script": Linking(interpreter="/bin/sh"),
        "text": None,
        "twin": Linking(interpreter="/bin/sh"),
    }
