"""The helper against whoever talks to it: refused, and nothing left over.

Where the kernel has no device mapper, a tree is made without dm-verity and everything else is as it
is (helper_unverified.py). qemu-tests/test_helper.py has the same with it.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import helping
import pytest
from helping import SOMEBODY, System, children, connected, say, serving, wait_for

from bootunion.errors import BootunionError
from bootunion.helper import policy, protocol, reading
from bootunion.helper.protocol import Request
from bootunion.helper.reading import Places
from bootunion.host.processes import asking
from bootunion.initrd.store import Store

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts, and becomes somebody else")
HERE = Path(__file__).parent
UNVERIFIED = str(HERE / "helper_unverified.py")
TOOL = {"/usr/bin/tool": "a tool\n"}
MOUNTS = Path("/proc/self/mountinfo")


@pytest.fixture
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    # Not below pytest's own directory: it is closed to everybody else.
    top = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    made = helping.make(top)
    yield made
    assert made.devices() == []
    assert str(top) not in MOUNTS.read_text()
    shutil.rmtree(top)


def client(system: System, request: dict[str, object], *how: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-B", HERE / "helper_client.py", system.socket, json.dumps(request), *how],
        user=SOMEBODY, group=SOMEBODY, extra_groups=[], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, cwd="/", env={"PYTHONPATH": str(helping.TOP)},
    )  # fmt: skip


def asked(system: System, **request: object) -> dict[str, object]:
    said, _ = client(system, request).communicate(timeout=60)
    found: dict[str, object] = json.loads(said)
    return found


def refusal(system: System, **request: object) -> str:
    return str(asked(system, **request)["code"])


def code(answer: bytes) -> str:
    with pytest.raises(BootunionError) as caught:
        protocol.decode_answer(answer)
    return caught.value.code


def test_two_clients_see_two_versions_at_one_path(system: System) -> None:
    with serving(system, program=UNVERIFIED):
        first = asked(system, with_=["lib=1.0", "tool"])
        second = asked(system, with_=["lib", "tool"])
        third = asked(system, list_name="base", generation=1, without=["lib"])
    assert first["files"] == {"/usr/lib/lib.so": "lib 1.0\n", "/usr/bin/tool": "a tool\n"}
    assert second["files"] == {"/usr/lib/lib.so": "lib 2.0\n", "/usr/bin/tool": "a tool\n"}
    assert third["files"] == {"/usr/bin/tool": "a tool\n"}
    hashes = [system.packages[one].image.root_hash for one in ("lib=2.0", "tool")]
    assert second["granted"] == {"list_name": "", "generation": 0, "packages": hashes}


def test_a_package_takes_the_place_of_the_lists(system: System) -> None:
    root_hash = system.packages["lib=2.0"].image.root_hash
    with serving(system, program=UNVERIFIED):
        for name in ("lib=2.0", root_hash, root_hash[:16]):
            found = asked(system, list_name="base", generation=1, with_=[name])
            assert found["files"]["/usr/lib/lib.so"] == "lib 2.0\n"  # type: ignore[index]
            assert len(found["granted"]["packages"]) == 2  # type: ignore[index]
        current = asked(system, list_name="base")
    assert current["granted"]["generation"] == 2  # type: ignore[index]


def test_setuid_and_devices_count_for_nothing_and_nobody_changes_that(system: System) -> None:
    tree = system.top / "tree"
    tree.mkdir()
    shutil.copy("/usr/bin/id", tree / "whoami")
    (tree / "whoami").chmod(0o6755)
    os.mknod(tree / "null", 0o20666, os.makedev(1, 3))
    (tree / "null").chmod(0o666)
    system.package_of("odd", "1", tree)
    with serving(system, program=UNVERIFIED):
        for with_ in (["odd"], ["odd", "tool"]):  # one is no overlay
            found = asked(system, with_=with_)
            assert found["flags"] == [True, True, True]
            assert found["null"] == found["null-after"] == "Permission denied"
            assert found["cleared"] == ["Operation not permitted"] * 4
            assert found["remounted"] != "done" and found["remounted-bind"] != "done"
            assert found["written"] == "Read-only file system"


def test_an_optional_package_that_is_not_there_is_left_out(system: System) -> None:
    gone = system.package("gone", "1", {"a": "a"})
    optional = {"gone": "optional"}
    system.add_list("some", 1, system.packages["tool"], gone, needs=optional)
    system.add_list("some", 2, system.packages["tool"], gone)
    (system.store.packages / gone.file_name).unlink()
    with serving(system, program=UNVERIFIED):
        assert asked(system, list_name="some", generation=1)["files"] == TOOL
        assert refusal(system, list_name="some", generation=2) == "file-missing"


def test_a_list_that_is_not_for_this_machine_or_time_is_refused(system: System) -> None:
    system.add_list("old", 1, system.packages["tool"], expires=1_700_000_001)
    system.add_list("other", 1, system.packages["tool"], architecture="s390x")
    # What is about boots is not looked at.
    system.add_list("boots", 1, system.packages["tool"], kernel="0.1", upper="persistent")
    with serving(system, program=UNVERIFIED):
        assert refusal(system, list_name="old") == "list-expired"
        assert refusal(system, list_name="other") == "architecture-mismatch"
        assert asked(system, list_name="boots")["files"] == TOOL


def test_what_is_not_signed_by_the_systems_keys_is_refused(system: System) -> None:
    stranger = helping.Signer(system.top / "stranger/package.key")
    system.package("mine", "1", {"a": "a"}, stranger)
    system.package("lib", "9.0", {"usr/lib/lib.so": "evil\n"}, stranger)
    listed = helping.Signer(system.top / "keys/list.key")  # a list's key signs no package
    system.package("confused", "1", {"a": "b"}, listed)
    bare = system.package("bare", "1", {"a": "c"})
    envelope = system.store.packages / f"{bare.stem}.json"
    unsigned = json.loads(envelope.read_text()) | {"signatures": []}
    envelope.write_text(json.dumps(unsigned))
    system.add_list("forged", 1, system.packages["tool"], key="package")
    system.store.add_list("base", 3, (system.store.lists / "base/2.json").read_bytes())
    with serving(system):
        assert refusal(system, with_=["mine"]) == "signature-untrusted"
        assert refusal(system, with_=["lib=9.0"]) == "signature-untrusted"
        assert refusal(system, with_=["confused"]) == "signature-untrusted"
        assert refusal(system, with_=["bare"]) == "signature-untrusted"
        assert refusal(system, list_name="forged") == "signature-untrusted"
        assert refusal(system, list_name="base", generation=3) == "list-misplaced"
        assert refusal(system, list_name="base", generation=9) == "file-missing"
        assert refusal(system, list_name="nobodys") == "file-missing"
        assert refusal(system, with_=["tool", "nobodys"]) == "package-missing"
    with serving(system, program=UNVERIFIED):
        # The unsigned one is newer, and no candidate.
        found = asked(system, with_=["lib"])
        assert found["files"] == {"/usr/lib/lib.so": "lib 2.0\n"}


def test_a_package_of_a_users_cache_is_nobodys(system: System) -> None:
    cache = system.top / "home/.cache/bootunion"
    mine = system._replace(store=helping.Store(cache).create())
    stranger = helping.Signer(system.top / "stranger/package.key")
    made = mine.package("private", "1", {"a": "secret\n"}, stranger)
    with serving(system):
        assert refusal(system, with_=["private"]) == "package-missing"
        assert refusal(system, with_=[made.image.root_hash]) == "package-missing"


def test_links_in_the_store_are_not_followed(system: System) -> None:
    elsewhere = system.top / "elsewhere"
    shutil.copytree(system.store.path, elsewhere)
    for path in (f"packages/{system.packages['tool'].stem}.json", "lists/base/2.json"):
        (system.store.path / path).unlink()
        (system.store.path / path).symlink_to(elsewhere / path)
    os.mkfifo(system.store.lists / "base/4.json")
    with serving(system):
        assert refusal(system, with_=["tool"]) == "file-invalid"
        assert refusal(system, list_name="base", generation=2) == "file-invalid"
        assert refusal(system, list_name="base", generation=4) == "file-invalid"


def test_without_trust_nothing_is_believed(system: System) -> None:
    with serving(system, f"--trust={system.top}/none"):
        assert refusal(system, with_=["tool"]) == "file-missing"
    with serving(system, f"--trust={system.top}/stranger/trust"):
        assert refusal(system, with_=["tool"]) == "signature-untrusted"


def test_less_than_the_boot_believed_is_not_believed(system: System) -> None:
    report = system.top / "boot.json"
    places = Places(str(system.store.path), (str(system.trust),), str(report))
    with Store(places.store) as store:
        assert reading.select(Request(with_=("tool",)), store, places)
        for text, expected in (('{"trust": 2}', "trust-rolled-back"), ("{", "not-booted")):
            report.write_text(text)
            with pytest.raises(BootunionError) as caught:
                reading.select(Request(with_=("tool",)), store, places)
            assert caught.value.code == expected


def test_words_that_are_none_are_refused(system: System) -> None:
    with serving(system) as server:
        for data in (b"x", b"\0" * 65536, b"{}", b"[" * 65536, os.urandom(1000),
                     b'{"schema":1,"list":"base","with":[],"without":[],"target":"/etc"}',
                     b'{"schema":1,"list":"base","with":[],"without":[],"base":"/etc"}',
                     b'{"schema":1,"list":"/etc","with":[],"without":[]}'):  # fmt: skip
            assert code(say(system, data)) == "helper-request-invalid"
        # What is cut off must not be taken for the whole.
        cut = say(system, Request(with_=("nobodys",)).encode() + b" " * 100_000)
        assert code(cut) == "helper-request-invalid"
        good = Request(with_=("tool",)).encode()
        with open("/dev/null") as null:
            answer = say(system, good, [null.fileno()] * 200)
        assert code(answer) == "helper-request-invalid" and b"descriptors" in answer
        assert server.poll() is None
        descriptors = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
        assert descriptors < 10


def test_who_dies_half_way_leaves_nothing(system: System) -> None:
    with serving(system, program=UNVERIFIED) as server:
        for _ in range(20):
            connected(system).close()
            with connected(system) as talk:
                talk.send(Request(with_=("tool",)).encode())
            with connected(system) as talk:
                talk.send(b"{")
                talk.shutdown(socket.SHUT_WR)
            with connected(system) as talk:
                talk.shutdown(socket.SHUT_RDWR)
            wait_for(lambda: not children(server.pid))
        wait_for(lambda: not system.devices())


def test_who_says_nothing_is_sent_away_and_others_are_served(system: System) -> None:
    with serving(system, "--talk_seconds=1", program=UNVERIFIED), connected(system) as silent:
        assert asked(system, with_=["tool"])["files"]
        assert code(silent.recv(65536)) == "helper-request-invalid"


def test_one_user_does_not_keep_others_out(system: System) -> None:
    with serving(system, program=UNVERIFIED):
        held = [connected(system) for _ in range(5)]
        answers = [one for one in held if _says(one, 0.5)]
        assert [code(one.recv(65536)) for one in answers] == ["helper-busy"]
        assert asked(system, with_=["tool"])["files"]
        for one in held:
            one.close()


def test_all_users_together_are_bounded(system: System) -> None:
    with serving(system, "--requests=2", program=UNVERIFIED):
        held = [connected(system) for _ in range(2)]
        assert refusal(system, with_=["tool"]) == "helper-busy"
        for one in held:
            one.close()
        wait_for(lambda: "files" in asked(system, with_=["tool"]))


def _says(talk: socket.socket, seconds: float) -> bool:
    talk.settimeout(seconds)
    try:
        talk.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return False
    return True


def test_a_request_that_takes_too_long_is_ended(system: System) -> None:
    with serving(system, "--seconds=1", "--sleep=60", program=UNVERIFIED):
        found = asked(system, with_=["tool"])
        assert found == {"code": "helper-failed", "text": "the request took too long"}


def test_a_request_that_does_not_end_is_killed(system: System) -> None:
    with serving(system, "--seconds=1", "--sleep=600", "--deaf=1", program=UNVERIFIED) as server:
        assert refusal(system, with_=["tool"]) == "helper-failed"
        wait_for(lambda: not children(server.pid))


def test_a_request_that_crashes_takes_nobody_with_it(system: System) -> None:
    with serving(system, "--crash=1", program=UNVERIFIED) as server:
        for _ in range(3):
            assert refusal(system, with_=["tool"]) == "helper-failed"
        assert server.poll() is None


def test_a_request_that_is_killed_leaves_nothing(system: System) -> None:
    with serving(system, program=UNVERIFIED) as server:
        for number in range(30):
            with connected(system) as talk:
                talk.send(Request(with_=("lib", "tool")).encode())
                time.sleep(number / 1000)
                for child in children(server.pid):
                    os.kill(child, signal.SIGKILL)
            wait_for(lambda: not children(server.pid))
            wait_for(lambda: not system.devices())
        assert asked(system, with_=["tool"])["files"]


@pytest.mark.parametrize("how", ["keep", "hold"])
def test_the_tree_goes_with_its_last_user(system: System, how: str) -> None:
    with serving(system, program=UNVERIFIED):
        holder = client(system, {"with_": ["lib", "tool"]}, how)
        assert holder.stdout is not None
        assert "granted" in holder.stdout.readline()
        assert len(system.devices()) == 2
        assert str(system.top) not in MOUNTS.read_text()
        holder.kill()
        holder.wait()
        wait_for(lambda: not system.devices())


def test_the_server_ends_when_nobody_asks(system: System) -> None:
    with serving(system, "--idle_seconds=1", program=UNVERIFIED) as server:
        assert asked(system, with_=["tool"])["files"]
        assert server.wait(30) == 0


def test_ten_thousand_requests(system: System) -> None:
    requests = [
        Request(with_=("nobodys",)).encode(), b"garbage", Request("base", 9).encode(), b"{}",
    ]  # fmt: skip
    heard: list[str] = []

    def ask_on(mine: int) -> None:
        for number in range(mine, 10_000, 3):
            while True:  # an earlier one of ours may not be over yet
                try:
                    said = say(system, requests[number % len(requests)])
                except (ConnectionResetError, BrokenPipeError):
                    continue
                found = code(said)
                if found != "helper-busy":
                    break
            heard.append(found)

    with serving(system) as server:
        before = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
        threads = [threading.Thread(target=ask_on, args=(number,)) for number in range(3)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        wait_for(lambda: not children(server.pid))
        assert len(list(Path(f"/proc/{server.pid}/fd").iterdir())) == before
        assert {one: heard.count(one) for one in set(heard)} == {
            "package-missing": 2500, "helper-request-invalid": 5000, "file-missing": 2500,
        }  # fmt: skip


def test_a_manifest_that_is_exchanged_is_the_signed_one_or_refused(system: System) -> None:
    """Somebody who can write to the store renames while it is read: what is signed is selected."""
    stranger = helping.Signer(system.top / "stranger/package.key")
    evil = system.package("evil", "1", {"usr/bin/tool": "evil\n"}, stranger)
    right = system.packages["tool"].image.root_hash
    place = system.store.packages / f"{system.packages['tool'].stem}.json"
    forms = [place.read_bytes(), (system.store.packages / f"{evil.stem}.json").read_bytes(),
             b"", b"{", place.read_bytes()[:-20]]  # fmt: skip
    over = threading.Event()

    def exchange() -> None:
        number = 0
        while not over.is_set():
            number += 1
            place.with_suffix(".aside").write_bytes(forms[number % len(forms)])
            place.with_suffix(".aside").rename(place)

    racer = threading.Thread(target=exchange)
    racer.start()
    places = Places(str(system.store.path), (str(system.trust),), "/nonexistent")
    found: set[str] = set()
    try:
        with Store(places.store) as store:
            for _ in range(2000):
                try:
                    selected = reading.select(Request(with_=("tool",)), store, places)
                    found.add("right" if selected.granted.packages == (right,) else "WRONG")
                except BootunionError as error:
                    found.add(error.code)
    finally:
        over.set()
        racer.join()
    assert "right" in found and "signature-untrusted" in found and "WRONG" not in found
    assert found <= {"right", "signature-untrusted", "envelope-invalid"}


@pytest.mark.parametrize(
    "with_, expected",
    [(["lib=1.0", "lib=2.0"], "helper-request-invalid"), (["tool", "twin"], "package-missing")],
)
def test_a_root_that_makes_no_sense_is_refused(
    system: System, with_: list[str], expected: str
) -> None:
    with serving(system):
        assert refusal(system, with_=with_) == expected
        assert refusal(system, list_name="base", without=["nobodys"]) == "package-missing"
        every = ["lib", "tool"]
        assert refusal(system, list_name="base", without=every) == "helper-request-invalid"


def test_two_builds_of_one_version_have_to_be_told_apart(system: System) -> None:
    again = system.package("lib", "2.0", {"usr/lib/lib.so": "another build\n"})
    with serving(system, program=UNVERIFIED):
        assert refusal(system, with_=["lib"]) == "helper-request-invalid"
        found = asked(system, with_=[again.image.root_hash[:16]])
    assert found["files"] == {"/usr/lib/lib.so": "another build\n"}


def test_where_nobody_listens_is_said(system: System) -> None:
    with pytest.raises(BootunionError) as caught:
        asking.ask(str(system.top / "nothing"), Request(with_=("tool",)))
    assert caught.value.code == "helper-missing"


def test_the_helper_is_started_by_its_socket_only() -> None:
    argv = [sys.executable, "-m", "bootunion.helper"]
    for words, said in (([], b"socket only"), (["--store=/x", "--path=/etc"], b"options are"),
                        (["--store"], b"options are")):  # fmt: skip
        done = subprocess.run([*argv, *words], cwd=helping.TOP, capture_output=True, check=False)
        assert done.returncode == 2 and said in done.stderr


def test_bounds_count_each_user() -> None:
    bounds = policy.Bounds(requests=3, of_one_uid=2)
    bounds.check([1, 2], 1)
    for running, uid in (([1, 1], 1), ([1, 2, 3], 4)):
        with pytest.raises(BootunionError) as caught:
            bounds.check(running, uid)
        assert caught.value.code == "helper-busy"
