"""Users' own roots: users.yaml, and PAM for real in a room of its own."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pamroom
import pytest
from importing import directory, member

from bootunion import systemlist
from bootunion.errors import BootunionError
from bootunion.host import packaging
from bootunion.host.logins import services, users
from bootunion.host.logins.users import Entry, User
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.initrd import mount
from bootunion.manifest import Manifest
from bootunion.systemlist import Layer, SystemList

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts file systems")
MARK = "/usr/share/mark"


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "users.yaml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)
    return path


@needs_root
def test_a_users_own_entry_comes_before_those_of_their_groups(tmp_path: Path) -> None:
    entries = users.read(table(tmp_path, """
"@staff": {list: tools@3}
"@developers": {with: [libfoo=2], without: [vim]}
bob: {list: tools, with: [abc]}
"""))  # fmt: skip
    bob = User("bob", 1000, frozenset({"staff"}))
    eve = User("eve", 1001, frozenset({"eve", "developers", "staff"}))
    assert users.find(entries, bob) == Entry("bob", "tools", ("abc",), ())
    assert users.find(entries, eve) == Entry("@staff", "tools@3")
    assert users.find(entries[1:], eve) == Entry("@developers", "", ("libfoo=2",), ("vim",))
    assert users.find(entries, User("zoe", 1002, frozenset({"zoe"}))) is None
    # Whatever root is called, and whatever groups it is in.
    assert users.find(entries, User("bob", 0, frozenset({"staff"}))) is None


@needs_root
@pytest.mark.parametrize(
    "text, said",
    [
        ("@staff: {list: tools}", "with quotes"),
        ("root: {list: tools}", "root keeps"),
        ("bob: tools", "says nothing of"),
        ("bob: {}", "says nothing of"),
        ("bob: {lists: tools}", "'lists'"),
        ("bob: {list: ../tools}", "not the name of a list"),
        ("bob: {with: abc}", "does not list packages"),
        ("bob: {with: [1]}", "does not list packages"),
        ("bob: {list: a}\nbob: {list: b}", "twice"),
        ("- bob", "not a mapping"),
        ('"@": {list: a}', "no user"),
    ],
)
def test_an_entry_that_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BootunionError, match=said) as caught:
        users.read(table(tmp_path, text))
    assert caught.value.code == "users-invalid"


@needs_root
def test_a_table_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, "bob: {list: tools}")
    path.chmod(0o664)
    with pytest.raises(BootunionError, match="others than root"):
        users.read(path)
    path.chmod(0o644)
    os.chown(path, 1000, 0)
    with pytest.raises(BootunionError, match="others than root"):
        users.read(path)


def test_without_a_table_nobody_has_an_entry(tmp_path: Path) -> None:
    assert users.read(tmp_path / "none") == ()


@pytest.fixture
def shop(store: Store, signer: Signer, keys: Path) -> Store:
    """A store with a list that the machine runs, and two versions of a package beside it."""

    def package(name: str, version: str, files: dict[str, bytes]) -> Manifest:
        members = [directory("usr"), directory("usr/share")]
        members += [member(path, data) for path, data in files.items()]
        about = Description(name, version, "all")
        return packaging.write_package(store, members, about, None, signer)

    base = package("base", "1", {"usr/share/base": b"base"})
    for version in ("1", "2"):
        package("mark", version, {MARK[1:]: version.encode()})
    layers = (Layer(base.name, base.version, base.architecture, base.image),)
    listed = SystemList("machine", 1, 0, 1, "amd64", "", layers, systemlist.UPPER_NONE, "0" * 64)
    envelope = Signer(keys / "list.key")(listed.encode(), systemlist.PAYLOAD_TYPE)
    store.add_list("machine", 1, envelope)
    return store


REPORT = """{"list": {"name": "machine", "generation": 1, "floor": 0, "created": 1}, "number": 1,
"result": "assembled"}"""
USERS = """
alice: {with: [mark=1]}
"@developers": {with: [mark=2]}
"""


def look() -> Any:
    """What a session sees of its root."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = [line.split()[4] for line in file]
    return {
        "mark": read(MARK),
        "base": read("/usr/share/base"),
        "passwd": bool(read("/etc/passwd")),
        "namespace": os.readlink("/proc/self/ns/mnt"),
        "working directory": os.getcwd(),
        "roots": [
            one
            for one in mounts
            if one.startswith("/run/bootunion/")
            and one != "/run/bootunion/login"
            and one not in ("/run/bootunion/roots", "/run/bootunion/private")
        ],
        "store": os.listdir("/pkgs") if os.path.isdir("/pkgs") else [],
    }


def read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


Visit = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def visit(shop: Store, keys: Path, tmp_path: Path) -> Visit:
    """Runs a function in a room where alice and bob have entries and carol has none."""

    def run(work: Callable[[], Any]) -> Any:
        def prepared() -> Any:
            pamroom.write("/run/bootunion/boot.json", REPORT)
            pamroom.write("/etc/bootunion/users.yaml", USERS)
            return work()

        return pamroom.run(prepared, tmp_path, shop.path, keys / "trust")

    return run


@needs_root
def test_each_session_sees_its_users_packages_and_the_machine_its_own(visit: Visit) -> None:
    def work() -> Any:
        before = look()
        return before, [pamroom.session(name, look) for name in pamroom.USERS], look()

    before, (alice, bob, carol), after = visit(work)
    assert (alice["mark"], bob["mark"]) == ("1", "2")
    for found in (alice, bob):
        assert found["base"] == "base" and found["passwd"]
        assert found["roots"] == [] and found["store"] == []
        assert found["working directory"] == "/"
    # Neither carol, who has no entry and is no member, nor the machine notices anything.
    assert carol == before == after
    assert before["namespace"] not in (alice["namespace"], bob["namespace"])


BREAKS = {
    "no-table-to-read": lambda: pamroom.write("/etc/bootunion/users.yaml", "alice: {"),
    "no-such-package": lambda: pamroom.write("/etc/bootunion/users.yaml", "alice: {with: [no]}"),
    "no-login-root": lambda: os.unlink("/run/bootunion/login-root"),
    "login-root-does-nothing": lambda: pamroom.write(
        "/run/bootunion/login-root", "#!/bin/sh\nexit 0\n", 0o755),
    "login-root-fails": lambda: pamroom.write(
        "/run/bootunion/login-root", "#!/bin/sh\nexit 1\n", 0o755),
    "no-namespace.conf": lambda: os.unlink("/etc/security/namespace.d/bootunion-namespace.conf"),
    "another-trust": lambda: os.truncate("/run/bootunion/trust/trust.json", 10),
}  # fmt: skip


@needs_root
@pytest.mark.parametrize("what", BREAKS)
def test_a_user_whose_root_fails_is_kept_out_and_nobody_else(visit: Visit, what: str) -> None:
    def work() -> Any:
        BREAKS[what]()
        return [pamroom.session(name, look) is not None for name in ("alice", "carol", "root")]

    assert visit(work) == [False, True, True]


@needs_root
def test_a_member_without_an_entry_keeps_the_machines_root(visit: Visit) -> None:
    def work() -> Any:
        pamroom.write("/etc/bootunion/users.yaml", "bob: {with: [mark]}")
        return look(), pamroom.session("alice", look)

    before, found = visit(work)
    for same in ("mark", "base", "store", "roots"):
        assert found[same] == before[same]


@needs_root
def test_nobody_makes_a_root_of_the_machines_own_mounts(visit: Visit) -> None:
    from bootunion.host.logins import session, system

    def work() -> Any:
        try:
            session.enter("alice", Path("/run/bootunion"), system.System())
        except BootunionError as error:
            return error.code, look()
        return "entered", look()

    code, found = visit(work)
    assert code == "login-namespace" and found["mark"] == ""


@needs_root
def test_a_root_at_a_directory_is_there_until_it_is_unmounted(visit: Visit) -> None:
    from bootunion.host.logins import mounting, system
    from bootunion.host.processes.selecting import Wanted

    def work() -> Any:
        place = Path("/run/here")
        place.mkdir()
        before = Path("/proc/self/mountinfo").read_text(encoding="utf-8").count("\n")
        os.chdir("/run")
        mounting.put(Wanted("machine", ("mark=1",)), place, system.System())
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").count("\n")
        found = [read(f"/run/here{path}") for path in (MARK, "/usr/share/base")]
        child = os.fork()
        if child == 0:  # somebody else sees it, too, and may keep it
            os.chroot(place)
            os._exit(0 if read(MARK) == "1" else 1)
        seen = os.waitpid(child, 0)[1]
        where = os.getcwd()
        mount.unmount(str(place))
        return found, mounts - before, seen, where, sorted(os.listdir(place))

    assert visit(work) == [["1", "base"], 1, 0, "/run", []]


@needs_root
def test_a_root_is_put_at_no_file_and_with_no_package_of_anybody_else(visit: Visit) -> None:
    from bootunion.host.logins import mounting, system
    from bootunion.host.processes.selecting import Wanted

    def work() -> Any:
        codes = []
        Path("/run/here").mkdir()
        for wanted, place in ((Wanted("machine"), "/run/nowhere"), (Wanted("other"), "/run/here"),
                              (Wanted("machine", ("no",)), "/run/here")):  # fmt: skip
            try:
                mounting.put(wanted, Path(place), system.System())
            except BootunionError as error:
                codes.append(error.code)
        return codes

    assert visit(work) == ["path-missing", "file-missing", "package-missing"]


def test_a_drop_in_gives_a_service_its_root_and_goes_again(tmp_path: Path) -> None:
    path = services.write("web.service", "tools-2", ("/var/lib/web",), tmp_path)
    assert path == tmp_path / "web.service.d/50-bootunion.conf"
    lines = path.read_text(encoding="utf-8").splitlines()
    unit = "bootunion-root@tools-2.service"
    for line in (f"Requires={unit}", f"After={unit}", "BindPaths=/var/lib/web",
                 "RootDirectory=/run/bootunion/roots/tools-2"):  # fmt: skip
        assert line in lines
    services.remove("web.service", tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BootunionError, match="no root that this command"):
        services.remove("web.service", tmp_path)


@pytest.mark.parametrize(
    "unit, bound", [("web", ()), ("../web.service", ()), ("a b.service", ()), ("web.socket", ()),
                    ("web.service", ("var",)), ("web.service", ("/a\nExecStart=/b",)),
                    ("web.service", ("/%h",))],
)  # fmt: skip
def test_a_drop_in_is_not_made_of_odd_words(unit: str, bound: tuple[str, ...]) -> None:
    with pytest.raises(BootunionError) as caught:
        services.drop_in(unit, "tools", bound)
    assert caught.value.code == "unit-invalid"
