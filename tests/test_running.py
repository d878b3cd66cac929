"""What a running machine tells of its root, on a root of squashfs layers without dm-verity."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest
from composing import BOOTUNION, needs_root

from bootunion import merge, plan, systemlist
from bootunion import operations as op
from bootunion.comparing import Difference
from bootunion.errors import BootunionError
from bootunion.host import (
    build,
    checkroot,
    checkroot_layers,
    drift,
    namespace,
    packaging,
    running,
    signing,
)
from bootunion.host.packaging import Description
from bootunion.host.running import Running
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.host.upper import Given, Upper
from bootunion.initrd import dm, loop, mount
from bootunion.initrd.executor import Executor
from bootunion.initrd.store import Store as Reader
from bootunion.manifest import Manifest
from bootunion.package import Image
from bootunion.systemlist import Layer, SystemList

pytestmark = needs_root
Result = TypeVar("Result")

TREES: dict[str, dict[str, str | None]] = {  # None: a directory
    "small-generated": {"usr/share/tool": None, "etc/ld.so.cache": "cache"},
    "tool": {"usr/bin/tool": "tool\n", "usr/share/tool/data": "data\n", "usr/share/tool/more": "m",
             "usr/lib/tool/a": "a", "usr/lib/tool/b": "b", "usr/lib/tool/deep/c": "c",
             "etc/tool.conf": "conf\n", "usr/share/same": "the same"},
    "other": {"usr/bin/other": "other\n", "usr/bin/tool": "hidden", "etc/other/one": "one\n",
              "usr/share/same": "the same", "usr/share/other/list": "list\n"},
    "base": {"usr/bin/sh": "sh\n", "etc/os-release": "ID=x\n", "run": None, "proc": None,
             "pkgs": None, "tmp/keep": "k"},
}  # fmt: skip
SYMLINKS = {"usr/bin/alias": "tool"}


class Machine(NamedTuple):
    """A store with a signed list of four packages, and the directories of a machine."""

    top: Path
    store: Store
    keys: Path
    manifests: tuple[Manifest, ...]

    def manifest(self, name: str) -> Manifest:
        return next(one for one in self.manifests if one.name == name)

    @property
    def report(self) -> Path:
        return self.top / "boot.json"

    def read(self) -> Running:
        trusted = signing.read_trust(self.keys / "trust")
        return running.read(self.store, trusted, self.report, lambda _: None)

    def boot(self, *, left_out: tuple[str, ...] = (), trust: int = 1) -> None:
        """Write the report of a boot."""
        facts = {"list": {"name": "small", "generation": 1, "floor": 1, "created": 1},
                 "result": "assembled", "number": 1, "left_out": list(left_out),
                 "trust": trust}  # fmt: skip
        self.report.write_text(json.dumps(facts))


def package(store: Store, signer: Signer, name: str, tree: Path) -> Manifest:
    for path, text in TREES[name].items():
        place = tree / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            place.mkdir(exist_ok=True)
        else:
            place.write_text(text)
    if name == "tool":
        for path, target in SYMLINKS.items():
            (tree / path).symlink_to(target)
        os.setxattr(tree / "usr/bin/tool", "user.mark", b"1")
    about = Description(name, "1", "all")
    return packaging.write_package(store, build.members(tree), about, None, signer)


def sign(machine: Machine, digest: str) -> None:
    layers = tuple(Layer(one.name, "1", "all", one.image, "optional" if one.name == "other" else
                         "required") for one in machine.manifests)  # fmt: skip
    system = SystemList("small", 1, 1, 1, "all", "", layers, "volatile", digest)
    envelope = Signer(machine.keys / "list.key")(system.encode(), systemlist.PAYLOAD_TYPE)
    (machine.store.lists / "small/1.json").unlink(missing_ok=True)
    machine.store.add_list("small", 1, envelope)


@pytest.fixture
def machine(tmp_path: Path, store: Store, keys: Path, signer: Signer) -> Machine:
    made = tuple(package(store, signer, name, tmp_path / name) for name in TREES)
    found = Machine(tmp_path, store, keys, made)
    merged = merge.merge(store.entries(one) for one in made)
    sign(found, merged.digest([one.image.root_hash for one in made]))
    found.boot()
    return found


class Root(NamedTuple):
    """A root that is mounted, in a namespace."""

    path: Path
    upper: Path
    devices: dict[int, str]


def on_root(
    machine: Machine, work: Callable[[Root], Result], images: tuple[str, ...] = (), *,
    writable: bool = True,
) -> Result:  # fmt: skip
    """Mount the machine's root, as the agent would, of `images` (default: the list's)."""
    names = images or tuple(one.file_name for one in machine.manifests)

    def inside() -> Result:
        space = machine.top / "workspace"
        root, upper, place = space / "root", space / "upper", space / "private/upper"
        with (
            Reader(str(machine.store.path)) as reader, Executor(reader) as executor,
            loop.Control() as loops,
        ):  # fmt: skip
            devices = {}
            for position, name in enumerate(names):
                fd, size = reader.open("packages", name)
                # The devices stay open: they would clear themselves.
                _, devices[position] = loops.attach(fd, size, name)
                executor.use(position, devices[position])
            layers = range(len(names))
            executor.execute((
                op.PrepareWorkspace(str(space)),
                *(op.MountImage(layer, names[layer], "squashfs") for layer in layers),
                *((op.MountTmpfs(str(upper)),) if writable else ()),
                op.MountOverlay(str(root), tuple((layer, "/") for layer in layers),
                                str(upper) if writable else ""),
                *((op.KeepUpper(str(upper), str(place)),) if writable else ()),
            ))  # fmt: skip
            return work(Root(root, place, devices))

    return namespace.in_namespace(inside)


def drifted(machine: Machine, change: Callable[[Path], object]) -> list[tuple[str, ...]]:
    """What drift says of a root after a change: (path, change, package, what differs …)."""

    def work(root: Root) -> list[tuple[str, ...]]:
        change(root.path)
        found = drift.find(machine.read(), Upper(root.upper), lambda _: None)
        return [(one.path, one.change, one.package, *one.what) for one in found]

    return on_root(machine, work)


def shell(line: str) -> Callable[[Path], object]:
    """A change that is made by a line of shell in the root's directory."""
    return lambda root: subprocess.run(["/bin/sh", "-ec", line], cwd=root, check=True)


@pytest.mark.parametrize(
    "line, expected",
    [
        ("true", []),
        ("echo x > usr/share/tool/new", [("/usr/share/tool/new", "added", "tool")]),
        ("echo x > usr/bin/new", [("/usr/bin/new", "added", "")]),
        ("mkdir -p srv/a; echo x > srv/a/b",
         [("/srv", "added", ""), ("/srv/a", "added", ""), ("/srv/a/b", "added", "")]),
        ("echo x >> etc/tool.conf", [("/etc/tool.conf", "content", "tool", "size")]),
        ("echo CONF > etc/tool.conf", [("/etc/tool.conf", "content", "tool", "content")]),
        ("chmod 600 etc/tool.conf", [("/etc/tool.conf", "metadata", "tool", "mode")]),
        ("chown 7:8 etc/tool.conf", [("/etc/tool.conf", "metadata", "tool", "owner")]),
        ("setfattr -x user.mark usr/bin/tool", [("/usr/bin/tool", "metadata", "tool", "xattrs")]),
        ("touch etc/tool.conf", [("/etc/tool.conf", "unchanged", "tool")]),
        ("chmod 700 usr/share/other", [("/usr/share/other", "metadata", "other", "mode")]),
        ("rm etc/tool.conf", [("/etc/tool.conf", "removed", "tool")]),
        ("rm -r usr/lib/tool", [("/usr/lib/tool", "removed", "tool")]),
        ("ln -sfn other usr/bin/alias", [("/usr/bin/alias", "content", "tool", "target")]),
        ("rm etc/tool.conf; mkdir etc/tool.conf",
         [("/etc/tool.conf", "content", "tool", "type")]),
        ("rm -r usr/lib/tool; mkdir usr/lib/tool; echo a > usr/lib/tool/a",
         [("/usr/lib/tool/a", "content", "tool", "size"), ("/usr/lib/tool/b", "removed", "tool"),
          ("/usr/lib/tool/deep", "removed", "tool")]),
        ("rm -r usr/lib/tool; echo x > usr/lib/tool",
         [("/usr/lib/tool", "content", "tool", "type"), ("/usr/lib/tool/a", "removed", "tool"),
          ("/usr/lib/tool/b", "removed", "tool"), ("/usr/lib/tool/deep", "removed", "tool")]),
        ("mount -t tmpfs x run; echo x > run/x", []),
    ],
)  # fmt: skip
def test_drift_says_what_the_upper_did(
    machine: Machine, line: str, expected: list[tuple[str, ...]]
) -> None:
    if "setfattr" in line:
        change: Callable[[Path], object] = lambda root: os.removexattr(  # noqa: E731
            root / "usr/bin/tool", "user.mark"
        )
    else:
        change = shell(line)
    assert drifted(machine, change) == expected


def test_drift_counts_what_a_removed_directory_takes_with_it(machine: Machine) -> None:
    def work(root: Root) -> list[drift.Change]:
        shell("rm -r usr/lib/tool")(root.path)
        return drift.find(machine.read(), Upper(root.upper), lambda _: None)

    assert [one.below for one in on_root(machine, work)] == [4]


DRIFT = (
    "echo x >> etc/tool.conf; chmod 600 usr/bin/other; rm usr/bin/sh; rm -r usr/lib/tool; "
    "mkdir usr/lib/tool; echo x > usr/lib/tool/a; mkdir srv; echo x > srv/new; touch etc/os-release"
)


def looked(
    machine: Machine, change: Callable[[Path], object], *, images: tuple[str, ...] = (),
    wanted: checkroot.Wanted | None = None,
) -> tuple[Running, checkroot.Seen]:  # fmt: skip
    """What check-root sees of a root after a change."""

    def work(root: Root) -> checkroot.Seen:
        change(root.path)
        return checkroot.check(
            machine.read(), Upper(root.upper), root.devices,
            checkroot.Places(machine.store.path, root.path, machine.top),
            wanted or checkroot.Wanted(), lambda _: None,
        )  # fmt: skip

    return machine.read(), on_root(machine, work, images)


@pytest.mark.parametrize("line", ["true", DRIFT, "mount -t tmpfs x run; mount -t tmpfs x tmp"])
def test_a_root_is_what_its_list_says_whatever_the_upper_did(machine: Machine, line: str) -> None:
    known, seen = looked(machine, shell(line))
    assert seen.differences == ()
    assert seen.digest == known.system.namespace
    assert seen.paths == len(known.merged.paths)
    assert checkroot.verdict(known, seen) is None


def test_what_changes_during_the_walk_is_no_difference(machine: Machine) -> None:
    def work(root: Root) -> checkroot.Seen:
        class Late(Upper):
            def given(self) -> Given:
                found = super().given()
                shell(DRIFT)(root.path)
                return found

        return checkroot.check(
            machine.read(), Late(root.upper), root.devices,
            checkroot.Places(machine.store.path, root.path, machine.top),
            checkroot.Wanted(), lambda _: None,
        )  # fmt: skip

    seen = on_root(machine, work)
    assert (seen.differences, seen.digest) == ((), machine.read().digest)


@pytest.mark.parametrize("drifting", ["true", DRIFT])
def test_every_byte_is_read_once(machine: Machine, drifting: str) -> None:
    known, seen = looked(machine, shell(drifting))
    assert seen.read == sum(entry.size for _, entry in known.merged.paths.values())


@pytest.mark.parametrize(
    "line, path, what",
    [
        ("mount --bind etc/os-release usr/bin/tool", "usr/bin/tool", "covered"),
        ("mount -t tmpfs x usr/share", "usr/share", "covered"),
        ("mount -t tmpfs x 'etc'", "etc", "covered"),
    ],
)
def test_what_is_mounted_over_a_package_is_named(
    machine: Machine, line: str, path: str, what: str
) -> None:
    known, seen = looked(machine, shell(line))
    assert [(one.path, one.what) for one in seen.differences] == [(path, what)]
    error = checkroot.verdict(known, seen)
    assert error is not None and error.code == "root-differs" and error.subject == f"/{path}"
    meant = checkroot.Wanted(mounts=(path,))
    assert looked(machine, shell(line), wanted=meant)[1].differences == ()


def replaced(machine: Machine, signer: Signer, name: str, change: str) -> tuple[str, ...]:
    """The images of the list, one of them made anew after a change to its tree."""
    tree = machine.top / name
    shell(change)(tree)
    about = Description(name, "2", "all")
    other = packaging.write_package(machine.store, build.members(tree), about, None, signer)
    return tuple(
        other.file_name if one.name == name else one.file_name for one in machine.manifests
    )


@pytest.mark.parametrize(
    "name, change, path, what",
    [
        ("tool", "echo tooL > usr/bin/tool", "usr/bin/tool", "content"),
        ("tool", "chmod 4755 usr/bin/tool", "usr/bin/tool", "mode"),
        ("tool", "rm usr/share/tool/data", "usr/share/tool/data", "missing"),
        ("other", "echo x > usr/bin/evil", "usr/bin/evil", "unexpected"),
        ("other", "ln -sf x etc/other/one", "etc/other/one", "type"),
        ("other", "mkdir usr/lib; chmod 700 etc/other", "etc/other", "mode"),
    ],
)
@pytest.mark.parametrize("drifting", ["true", DRIFT])
def test_another_package_in_a_layers_place_is_named(
    machine: Machine, signer: Signer, name: str, change: str, path: str, what: str, drifting: str
) -> None:
    images = replaced(machine, signer, name, change)
    known, seen = looked(machine, shell(drifting), images=images)
    assert (path, what) in [(one.path, one.what) for one in seen.differences]
    error = checkroot.verdict(known, seen)
    assert error is not None and error.code == "root-differs" and error.status == 4
    assert error.subject == f"/{path}"


def test_what_the_upper_hides_is_looked_at_below_it(machine: Machine, signer: Signer) -> None:
    images = replaced(machine, signer, "tool", "echo CONF > etc/tool.conf")
    _, seen = looked(machine, shell("echo conf > etc/tool.conf"), images=images)
    assert [(one.path, one.what) for one in seen.differences] == [("etc/tool.conf", "content")]
    assert seen.digest != machine.read().digest


def test_what_no_package_has_is_found_in_a_directory_that_the_upper_hides(
    machine: Machine, signer: Signer
) -> None:
    images = replaced(machine, signer, "tool", "echo x > usr/lib/tool/evil")
    _, seen = looked(machine, shell("rm -r usr/lib/tool; mkdir usr/lib/tool"), images=images)
    found = [(one.path, one.what) for one in seen.differences]
    assert found == [("usr/lib/tool/evil", "unexpected")]


def test_content_is_not_read_when_only_metadata_is_asked_for(
    machine: Machine, signer: Signer
) -> None:
    images = replaced(machine, signer, "tool", "echo tooL > usr/bin/tool")
    known, seen = looked(machine, shell("true"), images=images, wanted=checkroot.Wanted(False))
    assert seen.differences == () and seen.read == 0
    assert checkroot.as_json(known, seen, checkroot.Wanted(False))["content"] is False


def test_the_same_file_from_another_layer_is_named(machine: Machine) -> None:
    # Nothing that can be read differs: only the order of two layers that both have it.
    names = [one.file_name for one in machine.manifests]
    other_way_round = (names[0], names[2], names[1], names[3])

    def work(root: Root) -> checkroot.Seen:
        devices = root.devices
        right = {0: devices[0], 1: devices[2], 2: devices[1], 3: devices[3]}
        return checkroot.check(
            machine.read(), Upper(root.upper), right,
            checkroot.Places(machine.store.path, root.path, machine.top),
            checkroot.Wanted(), lambda _: None,
        )  # fmt: skip

    found = [(one.path, one.what) for one in on_root(machine, work, other_way_round).differences]
    assert ("usr/share/same", checkroot.OTHER_LAYER) in found
    assert ("usr/bin/tool", "content") in found or ("usr/bin/tool", "size") in found


def test_a_root_without_an_optional_package_is_what_the_list_allows(machine: Machine) -> None:
    machine.boot(left_out=(machine.manifest("other").stem,))
    names = tuple(one.file_name for one in machine.manifests if one.name != "other")
    known, seen = looked(machine, shell("true"), images=names)
    assert seen.differences == () and checkroot.verdict(known, seen) is None
    assert known.left_out == (machine.manifest("other").stem,)
    assert "usr/bin/other" not in known.merged.paths


def test_contents_that_do_not_make_the_signed_namespace_are_refused(machine: Machine) -> None:
    sign(machine, "0" * 64)
    with pytest.raises(BootunionError) as caught:
        machine.read()
    assert caught.value.code == "namespace-mismatch"


def test_less_trust_than_the_boot_had_is_refused(machine: Machine) -> None:
    machine.boot(trust=2)
    with pytest.raises(BootunionError) as caught:
        machine.read()
    assert caught.value.code == "trust-rolled-back"


def test_a_name_can_hold_anything_and_is_shown(machine: Machine, signer: Signer) -> None:
    odd = "usr/a\n\x1b[1m\udcff\u0151"
    images = replaced(machine, signer, "other", f"touch '{odd}'")
    known, seen = looked(machine, shell("true"), images=images)
    error = checkroot.verdict(known, seen)
    assert error is not None and error.subject == "/usr/a\\n\\x1b[1m\\xff\u0151"
    assert str(error).isprintable()


def test_each_difference_is_a_sentence_that_names_the_package(machine: Machine) -> None:
    known = machine.read()
    path = "usr/bin/tool"
    for one, sentence in (
        (Difference(path, "content", "a", "b"), "tool: its content is b, the list says a"),
        (Difference(path, "target", "", "b"), "tool: its target is b, the list says nothing"),
        (Difference(path, "missing", "file", ""), "tool: it is not there"),
        (Difference("x", "unexpected", "", "file"), "no package: the list has no such file there"),
        (Difference(path, "unreadable", "file", "I/O error"), "tool: it cannot be read: I/O error"),
        (Difference(path, "covered", "file", "tmpfs"), "tool: a mount (tmpfs) covers this file"),
        (Difference(path, "other-layer", "tool", "inode 1"),
         "tool: another layer than the list says gives it"),
    ):  # fmt: skip
        assert checkroot.describe(known, one) == sentence


def test_a_bad_block_is_its_package_s(machine: Machine) -> None:
    known = machine.read()
    seen = checkroot.Seen(0, 0, 0, known.digest, ())
    assert checkroot.verdict(known, seen) is None
    bad = checkroot.with_bad_blocks(seen, [known.layers[2]])
    error = checkroot.verdict(known, bad)
    assert error is not None
    assert error.message == f"other: dm-verity met a bad block of {known.layers[2].stem}"
    shown = checkroot.as_json(known, bad, checkroot.Wanted())["differences"]
    assert shown[0]["package"] == "other"  # type: ignore[index]


def test_an_upper_that_nobody_shows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BootunionError) as caught:
        Upper(tmp_path)
    assert caught.value.code == "upper-missing"


def test_only_a_root_with_an_upper_shows_one(machine: Machine) -> None:
    places = plan.Places()
    for upper, shown in (("volatile", [places.upper]), ("none", [])):
        steps = plan.for_boot(machine.read().system._replace(upper=upper), places)
        assert [one.path for one in steps if isinstance(one, op.KeepUpper)] == shown


def test_a_read_only_root_has_no_drift_and_is_checked(machine: Machine) -> None:
    def work(root: Root) -> checkroot.Seen:
        return checkroot.check(
            machine.read(), Upper(None), root.devices,
            checkroot.Places(machine.store.path, root.path, machine.top),
            checkroot.Wanted(), lambda _: None,
        )  # fmt: skip

    seen = on_root(machine, work, writable=False)
    assert (seen.differences, seen.digest) == ((), machine.read().digest)
    assert drift.find(machine.read(), Upper(None), lambda _: None) == []


def test_the_upper_is_shown_read_only_and_to_root_alone(machine: Machine) -> None:
    def work(root: Root) -> Iterator[object]:
        flags = os.statvfs(root.upper).f_flag
        kept = os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC
        return [flags & kept == kept, root.upper.parent.stat().st_mode & 0o777]  # type: ignore[return-value]

    assert list(on_root(machine, work)) == [True, 0o700]


IMAGE = Image("squashfs", 4096 * 6, 4, 4096 * 4, "ab" * 32, "cd" * 32, "/")
LAYER = Layer("tool", "1", "all", IMAGE)
LISTED = f"1 7:3 7:3 4096 4096 4 5 sha256 {'cd' * 32} {'ab' * 32}"


@pytest.mark.parametrize(
    "text, corruption, listed",
    [
        (LISTED, "eio", True),
        (f"{LISTED} 1 restart_on_corruption", "restart", True),
        (LISTED, "restart", True),  # the last resort goes without it
        (f"{LISTED} 1 ignore_corruption", "eio", False),
        (f"{LISTED} 1 check_at_most_once", "eio", False),
        (LISTED.replace("cd", "ce"), "eio", False),
        (LISTED.replace("ab", "ac"), "eio", False),
        (LISTED.replace("7:3 4096", "7:4 4096"), "eio", False),
        (LISTED.replace("4 5", "4 4"), "eio", False),
        ("7:3 0", "eio", False),
        ("", "eio", False),
    ],
)
def test_a_device_is_compared_with_the_list(text: str, corruption: str, listed: bool) -> None:
    system = SystemList("small", 1, 1, 1, "all", "", (LAYER,), "none", "0" * 64,
                        corruption=corruption)  # fmt: skip
    target = dm.Target(0, 4 * 4096, "verity", text)
    assert checkroot_layers.is_listed(target, system, LAYER) is listed
    assert not checkroot_layers.is_listed(target._replace(length=4096), system, LAYER)


def test_the_command_shows_drift(machine: Machine) -> None:
    def work(root: Root) -> list[tuple[int, str, str]]:
        shell(
            "echo x >> etc/tool.conf; rm usr/bin/other; echo x > etc/new; "
            "mkdir srv; echo x > srv/a; echo x > srv/b"
        )(root.path)
        mount.mount("x", "/run", "tmpfs")
        place = Path(plan.Places().upper)
        place.mkdir(parents=True)
        subprocess.run(["mount", "--bind", root.upper, place], check=True)
        words = ["drift", "--store", machine.store.path, "--trust", machine.keys / "trust",
                 "--report", machine.report]  # fmt: skip
        said = []
        for more in ([], ["--json"]):
            argv = [str(BOOTUNION), *map(str, words), *more]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            said.append((done.returncode, done.stdout, done.stderr))
        return said

    (status, text, error), (again, as_json, _) = on_root(machine, work)
    assert (status, again) == (0, 0), error
    lines = text.splitlines()
    assert lines[0] == "package\tchange\tpath\twhat"
    assert "other\tremoved\t/usr/bin/other\t" in lines
    assert "tool\tcontent\t/etc/tool.conf\tsize" in lines
    assert "(no package)\tadded\t/etc/new\t" in lines
    found = json.loads(as_json)
    assert "(no package)\tadded\t/srv\tand 2 below it" in lines
    assert "/srv/a" not in text and "/srv/a" in as_json
    assert found["counts"] == {"removed": 1, "content": 1, "metadata": 0, "added": 4,
                               "unchanged": 0}  # fmt: skip
    assert found["changes"][0]["package"] == "other"


def test_a_machine_that_the_agent_did_not_boot_is_told_so(tmp_path: Path, keys: Path) -> None:
    for command in ("check-root", "drift"):
        argv = [str(BOOTUNION), command, "--store", str(tmp_path), "--trust", str(keys / "trust"),
                "--report", str(tmp_path / "none")]  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "[not-booted]" in done.stderr
