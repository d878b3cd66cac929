"""Programs, libraries, scripts and symlinks that do not find what they need are found."""

import struct

import elves
import pytest
from small_system import LIBRARIES, Shop, listed, program

from bootunion import checks, merge
from bootunion.checks import FATAL, INFO, WARNING
from bootunion.checks.root import Root
from bootunion.contents import DIRECTORY, FILE, SYMLINK, Entry
from bootunion.host.deb import STATUS_PARTS


def codes(small: Shop, *args: object, **more: object) -> list[str]:
    return [one.code for one in small.check(small.layers(*args, **more))]  # type: ignore[arg-type]


def test_a_program_s_missing_library(small: Shop) -> None:
    wrong = small.build("wrong", {"usr/bin/a": program("libnone.so.1", "libc.so.6"),
                                  "usr/bin/b": program("libnone.so.1")})  # fmt: skip
    also = small.build("also", {"usr/bin/c": program("libnone.so.1")})
    one = small.finding("library-missing", small.layers(wrong, also))
    assert (one.severity, one.path, one.package) == (WARNING, "/usr/bin/a", "wrong")
    assert "libnone.so.1" in one.text and "libnone.so.1" in one.way_out
    assert "2 more files, also of 1 more packages" in one.text


def test_a_package_is_named_before_the_generated_layer_s_copy(small: Shop) -> None:
    generated = small.build("small-generated", {"usr/bin/a": program("libnone.so.1")})
    wrong = small.build("wrong", {"usr/bin/b": program("libnone.so.1")})
    one = small.finding("library-missing", small.layers(generated, wrong))
    assert (one.path, one.package) == ("/usr/bin/b", "wrong")


@pytest.mark.parametrize(
    ("path", "severity"),
    [(f"{LIBRARIES}/libx.so.1", WARNING), (f"{LIBRARIES}/plugins/x.so", INFO)],
)
def test_a_library_s_missing_library(path: str, severity: str, small: Shop) -> None:
    wrong = small.build("wrong", {path: elves.elf("libnone.so.1", soname="x")})
    one = small.finding("library-missing", small.layers(wrong))
    assert (one.severity, one.path) == (severity, f"/{path}")


def test_a_library_is_looked_for_where_the_loader_looks(small: Shop) -> None:
    library = elves.elf("libc.so.6", soname="libx.so.1")
    places = {
        f"{LIBRARIES}/libx.so.1": {},
        "usr/lib/libx.so.1": {},
        "usr/lib64/libx.so.1": {},
        "opt/x/lib/libx.so.1": {"runpath": "/none:$ORIGIN/../lib"},
        "opt/x/bin/lib/libx.so.1": {"rpath": "${ORIGIN}/lib"},
        "opt/lib/x86_64-linux-gnu/libx.so.1": {"runpath": "/opt/$LIB"},
    }  # fmt: skip
    for path, more in places.items():
        files = {"opt/x/bin/p": program("libx.so.1", **more), path: library}
        assert codes(small, small.build("right", files)) == [], path  # type: ignore[arg-type]
    elsewhere = {
        "opt/x/bin/p": program("libx.so.1", runpath="$ORIGIN"),
        "opt/other/libx.so.1": library,
    }
    one = small.finding(
        "library-elsewhere",
        small.layers(small.build("other", elsewhere)),  # type: ignore[arg-type]
    )
    assert (one.severity, one.path) == (WARNING, "/opt/x/bin/p")
    assert "/opt/other/libx.so.1" in one.text
    plugin = small.build("plugin", {
        f"{LIBRARIES}/a/libx.so.1": library, f"{LIBRARIES}/b/p.so": elves.elf("libx.so.1"),
    })  # fmt: skip
    assert small.finding("library-elsewhere", small.layers(plugin)).severity == INFO


def test_a_library_of_another_machine_is_passed_over(small: Shop) -> None:
    wrong = small.build("wrong", {
        "usr/bin/p": program("libx.so.1"),
        f"{LIBRARIES}/libx.so.1": elves.elf(soname="libx.so.1", wide=False),
    })  # fmt: skip
    assert small.finding("library-missing", small.layers(wrong)).path == "/usr/bin/p"
    # What is no ELF file, such as a linker script, is none at all.
    text = small.build("text", {"usr/bin/p": program("libx.so.1"), f"{LIBRARIES}/libx.so.1": None})
    assert small.finding("library-missing", small.layers(text)).path == "/usr/bin/p"


def cache(path: str) -> bytes:
    head = b"glibc-ld.so.cache1.1" + struct.pack("=II", 1, len(path) + 1) + bytes(20)
    return head + struct.pack("=iIIIQ", 0x303, 0, 72, 0, 0) + path.encode() + b"\0"


def test_the_loader_s_cache_counts(small: Shop) -> None:
    files = {"usr/bin/p": program("libx.so.1"), "opt/lib/libx.so.1": elves.elf(soname="libx.so.1")}
    package = small.build("package", files)  # type: ignore[arg-type]
    assert codes(small, package) == ["library-elsewhere"]
    generated = small.build("small-generated", {"etc/ld.so.cache": cache("/opt/lib/libx.so.1")})
    assert codes(small, generated, package) == []


def test_a_program_s_loader(small: Shop) -> None:
    foreign = elves.elf("libc.so.6", interpreter="/lib/ld-linux.so.2", machine=3, wide=False)
    wrong = small.build("wrong", {"usr/bin/p": foreign})
    one = small.finding("interpreter-missing", small.layers(wrong))
    assert (one.severity, one.path, one.package) == (WARNING, "/usr/bin/p", "wrong")
    assert "/lib/ld-linux.so.2" in one.text
    # musl's loader is its libc, too.
    musl = small.build("musl", {
        "usr/bin/p": elves.elf("libc.so", interpreter="/lib/ld-musl-x86_64.so.1"),
        "usr/lib/ld-musl-x86_64.so.1": elves.elf(soname="libc.so"),
    })  # fmt: skip
    assert codes(small, musl) == []


def test_a_program_of_another_machine(small: Shop) -> None:
    foreign = elves.elf(machine=elves.AARCH64)
    wrong = small.build("wrong", {"usr/bin/p": foreign, "usr/share/firmware.elf": foreign})
    one = small.finding("machine-foreign", small.layers(wrong))
    assert (one.severity, one.path, one.package) == (WARNING, "/usr/bin/p", "wrong")
    assert "64-aarch64" in one.text


@pytest.mark.parametrize(
    ("script", "wanted"),
    [(b"#!/usr/bin/none\n", "/usr/bin/none"), (b"#!/usr/bin/env none\n", "none"),
     (b"#!sh\n", "sh"), (b"#!/bin/sh\r\n", "/bin/sh\r")],
)  # fmt: skip
def test_a_script_s_interpreter(script: bytes, wanted: str, small: Shop) -> None:
    env = program("libc.so.6")
    wrong = small.build("wrong", {"usr/bin/s": script, "usr/bin/env": env})
    one = small.finding("script-interpreter-missing", small.layers(wrong))
    assert (one.severity, one.path, one.package) == (WARNING, "/usr/bin/s", "wrong")
    assert wanted.replace("\r", "\\r") in one.text
    files = {"usr/bin/s": b"#!/usr/bin/env -S sh -e\n", "usr/bin/env": env}
    assert codes(small, small.build("right", files)) == []  # type: ignore[arg-type]
    # Only another program runs what lies elsewhere; examples are run by nobody.
    away = small.build("away", {"usr/lib/x/s": script, "usr/share/doc/x/s": script,
                                "usr/bin/env": env})  # fmt: skip
    assert small.finding("script-interpreter-missing", small.layers(away)).severity == INFO


def test_symlinks_that_lead_to_nothing(small: Shop) -> None:
    wrong = small.build("wrong", {
        "usr/bin/a": "/usr/bin/none", "usr/bin/b": "../lib/none/x",
        f"{LIBRARIES}/libx.so": "x.so.1", "usr/bin/loop": "loop", "usr/share/doc/x": "../none",
        "etc/run": "/run/x", "etc/proc": "../proc/mounts", "etc/null": "/dev/null",
        "usr/bin/right": "/bin/sh",
    })  # fmt: skip
    found = [one for one in small.check(small.layers(wrong)) if one.code == "symlink-dangling"]
    assert [(one.severity, one.path) for one in found] == [
        (WARNING, "/usr/bin/a"), (INFO, "/usr/share/doc/x"),
    ]  # fmt: skip
    text = found[0].text
    assert "wrong" in text and "/usr/bin/a leads to /usr/bin/none" in text
    assert "/usr/lib/none/x" in text and "(and 1 more of it do)" in text
    assert found[0].way_out.endswith(".")


def test_what_scripts_make_is_not_held_against_a_list_that_is_not_composed(small: Shop) -> None:
    package = small.build(
        "package", {"usr/bin/a": "/etc/alternatives/a", "usr/bin/s": b"#!/bin/awk\n"}
    )
    layers = small.layers(package)
    found = checks.check(listed(layers), small.merged(layers), layers, composed=False)
    assert {one.severity for one in found} == {INFO}
    assert {one.severity for one in small.check(layers)} == {WARNING}


def test_what_an_unknown_package_may_have_is_not_called_missing(small: Shop) -> None:
    files = {"usr/bin/p": program("libnone.so.1"), "sbin/x": b"", "usr/sbin/y": b""}
    package = small.build("package", files)
    layers = small.layers(package, without=["init", "kernel"])
    merged = small.merged(layers)
    known = checks.check(listed(layers), merged, layers)
    assert {one.code: one.severity for one in known} == {
        "init-missing": FATAL, "merged-usr": FATAL, "modules-missing": FATAL,
        "library-missing": WARNING,
    }  # fmt: skip
    manifests = [None if one.name == "libinit" else one for one in layers]
    unknown = checks.check(listed(layers), merged, manifests)
    assert {one.code: one.severity for one in unknown} == {
        "init-missing": INFO, "merged-usr": FATAL, "modules-missing": INFO, "library-missing": INFO,
    }  # fmt: skip
    assert all("libinit" in one.text for one in unknown if one.severity == INFO)


def test_contents_of_before_are_said_to_tell_nothing(small: Shop) -> None:
    layers = small.layers()
    entries = [
        [entry._replace(linking=None) for entry in small.store.entries(one)] for one in layers
    ]
    found = checks.check(listed(layers), merge.merge(entries), layers)
    (one,) = found
    assert (one.severity, one.code, one.package) == (INFO, "linking-unknown", "shell")
    assert "/usr/bin/" in one.text


def test_odd_names_are_shown_in_a_form_that_is_safe_to_print(small: Shop) -> None:
    wrong = small.build("wrong", {"usr/bin/\x1b[2J\udcff": program("lib\x1b]0;x\a.so")})
    (one,) = small.check(small.layers(wrong))
    assert one.path == "/usr/bin/\x1b[2J\udcff"
    assert "/usr/bin/\\x1b[2J\\xff needs lib\\x1b]0;x\\x07.so" in one.text
    assert one.text.isprintable() and one.way_out.isprintable()


@pytest.mark.parametrize(("count", "found"), [(40, True), (41, False), (400, False)])
def test_as_many_symlinks_are_followed_as_the_kernel_follows(count: int, found: bool) -> None:
    ends = "x/../" * 700
    entries = [Entry("", DIRECTORY, 0o755, 0, 0), Entry("d", DIRECTORY, 0o755, 0, 0),
               Entry("d/x", DIRECTORY, 0o755, 0, 0)]  # fmt: skip
    entries += [
        Entry(f"d/l{number:03}", SYMLINK, 0o777, 0, 0, target=f"../d/{ends}l{number + 1:03}")
        for number in range(count)
    ]
    entries.append(Entry(f"d/l{count:03}", FILE, 0o755, 0, 0))
    root = Root(listed([]), merge.merge([sorted(entries)]), [])
    assert (root.follow("d/l000").found == f"d/l{count:03}") is found
    assert root.follow("d/x/../../../d/./").found == "d"
    assert root.follow("").found == ""


def test_dependencies_between_debs(small: Shop) -> None:
    a = small.deb("a", "2:1.0-1", Depends="b (>= 2.0) | c, d:any (= 1), v", Pre_Depends="e")
    b = small.deb("b", "2.0~rc1", Depends="a (>= 2:1.0~), a (<< 2:1.0-2)")
    d = small.deb("d", "1", Depends="none | nothing (>= 1)", Provides="v, w (= 3)")
    f = small.deb("f", "1", Depends="w (>= 3), none | nothing, v (>= 1)")
    found = small.check(small.layers(a, b, d, f))
    missing = [one for one in found if one.code == "dependency-missing"]
    assert [(one.severity, one.package, one.path) for one in missing] == [
        (WARNING, "a", f"/{STATUS_PARTS}/a"), (WARNING, "d", f"/{STATUS_PARTS}/d"),
    ]  # fmt: skip
    assert "depends on e," in missing[0].text and "Add e " in missing[0].way_out
    assert "none or nothing" in missing[1].text and "(and 1 more packages)" in missing[1].text
    other = [one for one in found if one.code == "dependency-version"]
    assert [(one.severity, one.package, one.path) for one in other] == [
        (WARNING, "a", f"/{STATUS_PARTS}/a"), (WARNING, "f", f"/{STATUS_PARTS}/f"),
    ]  # fmt: skip
    assert "b (>= 2.0) | c, and the list has b 2.0~rc1" in other[0].text
    # A name that is provided without a version meets no version.
    assert "v (>= 1), and the list has v without a version" in other[1].text
    for one in (*missing, *other):
        assert one.path in one.text and one.package in one.text and one.way_out.endswith(".")


@pytest.mark.parametrize(
    ("depends", "met"),
    [("x (= 1.5)", True), ("x (= 1.50)", False), ("x (<< 1.5)", False), ("x (<= 1.5)", True),
     ("x (>> 1.5)", False), ("x (>= 1.5)", True), ("x (>> 1.5~)", True), ("x (<< 1.5-1)", True),
     ("x (> 1.5)", True), ("x (< 1.5)", True), ("x(>=1)", True), ("x:amd64 ( >= 1 )", True),
     ("not ! a relation", True)],
)  # fmt: skip
def test_relations_are_read_as_dpkg_reads_them(depends: str, met: bool, small: Shop) -> None:
    layers = [
        small.base["base"]._replace(name="x", version="1.5"),
        small.base["shell"]._replace(name="y", depends=(depends,)),
    ]
    found = [one for one in small.check(layers) if one.code.startswith("dependency")]
    assert bool(found) is not met


def test_real_packages_without_their_libraries(small: Shop, debs: dict[str, object]) -> None:
    from pathlib import Path

    from bootunion.host import importer

    files = [Path(str(debs[name])) for name in ("sudo", "libc6", "perl-base")]
    made = importer.import_debs(files, small.store, small.signer, lambda _: None, jobs=1)
    small.known.update({one.image.root_hash: one for one in made})
    found = small.check([small.base["base"], *made], kernel="")
    missing = {one.text.partition(" needs ")[2].partition(",")[0]: one for one in found
               if one.code == "library-missing"}  # fmt: skip
    assert {"libaudit.so.1", "libz.so.1"} <= missing.keys()
    assert "libc.so.6" not in missing and "libcrypt.so.1" in missing
    assert missing["libaudit.so.1"].package == "sudo"
    assert missing["libaudit.so.1"].path in missing["libaudit.so.1"].text
    names = {one.text.partition(" depends on ")[2].partition(",")[0]: one.severity for one in found
             if one.code == "dependency-missing"}  # fmt: skip
    assert names["libaudit1"] == WARNING and "libc6" not in names
    assert not [one for one in found if one.code == "interpreter-missing"]
