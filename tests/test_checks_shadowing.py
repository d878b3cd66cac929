"""What packages hide of each other is found, judged and, where a person says so, approved."""

from pathlib import Path

import pytest
from importing import CAPABILITY, directory, member
from small_system import File, Shop, listed

from bootunion import checks, merge
from bootunion.checks import CHECKS, FATAL, INFO, KINDS, WARNING
from bootunion.errors import BootunionError
from bootunion.host import approving, systemyaml
from bootunion.host.approving import Approval
from bootunion.manifest import Manifest
from bootunion.systemlist import Shadowing

SCRIPT = b"#!/bin/sh\n"
LOSER: dict[str, File] = {
    "etc/a": b"1",
    "etc/d/x": b"1",
    "etc/link": "a",
    "usr/bin/su": member("usr/bin/su", SCRIPT, mode=0o4755),
}
# Each way to hide something, with the kind and the path that is found.
WINNERS: dict[str, tuple[dict[str, File], str]] = {
    "content": ({"etc/a": b"2"}, "/etc/a"),
    "metadata": ({"etc/a": member("etc/a", b"1", mode=0o600)}, "/etc/a"),
    "type": ({"etc/d": b""}, "/etc/d"),
    "directory-over-symlink": ({"etc/link/y": b""}, "/etc/link"),
    "privilege": ({"usr/bin/su": member("usr/bin/su", SCRIPT, mode=0o755)}, "/usr/bin/su"),
}
CAPABLE = member("usr/bin/su", SCRIPT, mode=0o4755, xattrs={"security.capability": CAPABILITY})


@pytest.mark.parametrize("kind", WINNERS)
def test_what_hides_other_things_is_found(kind: str, small: Shop) -> None:
    files, path = WINNERS[kind]
    layers = small.layers(small.build("winner", files), small.build("loser", LOSER))
    one = small.finding("shadowed", layers)
    assert (one.severity, one.path, one.package) == (WARNING, path, "winner")
    assert "loser" in one.text and "approve" in one.way_out
    pairs = [pair for pair in small.merged(layers).contested if f"/{pair.path}" == path]
    assert [pair.kind for pair in pairs] == [kind]
    assert checks.severity(pairs[0], listed(layers)) == WARNING


def test_a_capability_gained_is_a_privilege(small: Shop) -> None:
    layers = small.layers(small.build("winner", {"x": CAPABLE}), small.build("loser", LOSER))
    assert "capabilities" in small.finding("shadowed", layers).text


def test_what_is_the_same_hides_nothing(small: Shop) -> None:
    layers = small.layers(small.build("winner", LOSER), small.build("loser", LOSER))
    assert small.check(layers) == []
    assert {checks.severity(one, listed(layers)) for one in small.merged(layers).contested} == {
        INFO
    }


def test_a_pair_of_packages_has_one_finding_for_each_kind(small: Shop) -> None:
    many: dict[str, File] = {f"etc/{number}": b"1" for number in range(20)}
    other: dict[str, File] = {f"etc/{number}": b"2" for number in range(20)}
    layers = small.layers(small.build("winner", {**many, "etc/a": b"2"}),
                          small.build("loser", {**other, **LOSER}))  # fmt: skip
    assert "(and 20 more paths of it)" in small.finding("shadowed", layers).text


def test_the_generated_layer_is_there_to_win(small: Shop) -> None:
    generated = small.build("small-generated", {"etc/a": b"2"})
    layers = small.layers(generated, small.build("loser", LOSER))
    assert small.check(layers) == []
    assert checks.denied((), small.merged(layers), listed(layers), ["content"]) == ()
    # Under another name it is a package like any other.
    other = generated._replace(name="x-generated")
    assert small.finding("shadowed", small.layers(other, small.build("loser", LOSER)))


MARKED: dict[str, tuple[File, str]] = {
    "whiteout": (member("etc/d", kind=b"3", mode=0), "etc/d"),
    "opaque": (directory("etc/d", xattrs={"trusted.overlay.opaque": b"y"}), "etc/d"),
}


@pytest.mark.parametrize("kind", MARKED)
def test_a_marker_that_the_list_does_not_declare(kind: str, small: Shop) -> None:
    file, path = MARKED[kind]
    wrong = small.build("wrong", {path: file}, markers=[path])
    layers = small.layers(wrong, small.build("loser", LOSER))
    one = small.finding("overlay-marker", layers)
    assert (one.severity, one.path, one.package) == (FATAL, "/etc/d", "wrong")
    assert "loser" in one.text
    pairs = [pair for pair in small.merged(layers).contested if pair.kind == kind]
    assert "etc/d/x" in [pair.path for pair in pairs]
    assert {checks.severity(pair, listed(layers)) for pair in pairs} == {FATAL}
    declared = (Shadowing("/etc/d", "wrong", "loser"),)
    system = listed(layers, shadowings=declared)
    assert small.check(layers, shadowings=declared) == []
    assert {checks.severity(pair, system) for pair in pairs} == {INFO}
    # Declared for one package is not declared for another.
    assert small.check(small.layers(wrong, small.build("other", LOSER)), shadowings=declared)


def test_an_approved_pair_is_only_known(small: Shop) -> None:
    layers = small.layers(small.build("winner", {"etc/a": b"2"}), small.build("loser", LOSER))
    merged = small.merged(layers)
    right = (Shadowing("/etc/a", "winner", "loser"),)
    assert small.check(layers, shadowings=right) == []
    assert checks.severity(merged.contested[-1], listed(layers, shadowings=right)) == INFO
    assert checks.denied((), merged, listed(layers), ["content"]) == ("content",)
    assert checks.denied((), merged, listed(layers, shadowings=right), ["content"]) == ()
    for wrong in (Shadowing("/etc/b", "winner", "loser"), Shadowing("/etc/a", "loser", "winner"),
                  Shadowing("/etc", "winner", "loser")):  # fmt: skip
        assert small.finding("shadowed", layers, shadowings=(wrong,)).severity == WARNING


def test_merged_usr_cannot_be_approved(small: Shop) -> None:
    layers = small.layers(small.build("wrong", {"lib/x": b""}))
    approved = (Shadowing("/lib", "wrong", "base"),)
    assert small.finding("merged-usr", layers, shadowings=approved).severity == FATAL
    (pair,) = (one for one in small.merged(layers).contested if one.path == "lib")
    assert checks.severity(pair, listed(layers, shadowings=approved)) == FATAL


def test_what_is_denied_is_a_kind_or_a_code(small: Shop) -> None:
    layers = small.layers(small.build("winner", {"etc/a": b"2"}), small.build("loser", LOSER))
    found, merged, system = small.check(layers), small.merged(layers), listed(layers)
    assert set(KINDS) == {*merge.KINDS, *CHECKS} and len(set(KINDS)) == len(KINDS)
    assert checks.denied(found, merged, system, KINDS) == ("content", "shadowed")
    assert checks.denied(found, merged, system, ["shadowed", "type", "init-missing"]) == (
        "shadowed",
    )
    assert checks.denied(found, merged, system, []) == ()
    with pytest.raises(ValueError, match="'colour' is no kind"):
        checks.denied(found, merged, system, ["colour"])


def approve(small: Shop, layers: list[Manifest], *approvals: Approval) -> list[tuple[str, ...]]:
    names = [one.name for one in layers]
    approving.check(approvals, small.merged(layers), names)
    return [tuple(one) for one in approving.shadowings(approvals, small.merged(layers), names)]


@pytest.fixture
def pair(small: Shop) -> list[Manifest]:
    files = ("usr/bin/[", "usr/bin/x", "usr/bin/d/y", "usr/bin/d/e/z", "etc/a.b")
    return small.layers(
        small.build("winner", {**dict.fromkeys(files, b"1"), "etc/same": b"0"}),
        small.build("loser", {**dict.fromkeys(files, b"2"), "etc/same": b"0"}),
    )


@pytest.mark.parametrize(
    ("path", "paths"),
    [
        ("usr/bin/[", ["/usr/bin/["]),
        ("usr/bin/*", ["/usr/bin/[", "/usr/bin/x"]),
        ("usr/bin/?", ["/usr/bin/[", "/usr/bin/x"]),
        ("usr/bin/d/**", ["/usr/bin/d/e/z", "/usr/bin/d/y"]),
        ("usr/**/z", ["/usr/bin/d/e/z"]),
        ("etc/a?b", ["/etc/a.b"]),
        ("etc/a.b", ["/etc/a.b"]),
    ],
)
def test_approvals_become_shadowings_of_pairs_that_exist(
    path: str, paths: list[str], small: Shop, pair: list[Manifest]
) -> None:
    assert approve(small, pair, Approval(path, "winner", "loser")) == [
        (one, "winner", "loser") for one in paths
    ]


@pytest.mark.parametrize(
    "one",
    [
        Approval("etc/same", "winner", "loser"), Approval("usr/bin/x", "loser", "winner"),
        Approval("usr/bin", "winner", "loser"), Approval("etc/axb", "winner", "loser"),
        Approval("usr/bin/x", "winner", "none"),
    ],
)  # fmt: skip
def test_an_approval_of_nothing_is_refused(
    one: Approval, small: Shop, pair: list[Manifest]
) -> None:
    with pytest.raises(BootunionError) as caught:
        approve(small, pair, Approval("usr/bin/x", "winner", "loser"), one)
    assert caught.value.code == "approval-unmatched"
    assert one.winner in str(caught.value) and f"/{one.path}" in str(caught.value)


def test_what_the_list_approves_twice_stands_once(small: Shop, pair: list[Manifest]) -> None:
    both = (Approval("usr/bin/x", "winner", "loser"), Approval("usr/bin/*", "winner", "loser"))
    assert len(approve(small, pair, *both)) == 2


HEAD = "name: x\nsuites: [a]\npackages: [b]\n"


def test_approvals_are_read_from_the_system_yaml(tmp_path: Path) -> None:
    path = tmp_path / "system.yaml"
    path.write_text(HEAD + "approve:\n  - {path: /bin/*, winner: a, loser: b-c}\n")
    assert systemyaml.read(path).approve == (Approval("usr/bin/*", "a", "b-c"),)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("approve: x", "`approve`"),
        ("approve: [x]", "an entry of `approve`"),
        ("approve: [{path: /x, winner: a}]", "`loser`"),
        ("approve: [{path: x, winner: a, loser: b}]", "not an absolute path"),
        ("approve: [{path: /x/../y, winner: a, loser: b}]", "not an absolute path"),
        ("approve: [{path: /x, winner: a, loser: b, why: c}]", "`why`"),
        ("approve: [{path: /x, winner: a/b, loser: b}]", "a/b"),
    ],
)
def test_approvals_of_another_form_are_refused(text: str, names: str, tmp_path: Path) -> None:
    path = tmp_path / "system.yaml"
    path.write_text(HEAD + text)
    with pytest.raises(BootunionError) as caught:
        systemyaml.read(path)
    assert names in str(caught.value)
