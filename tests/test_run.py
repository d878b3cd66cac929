"""`bootunion run` and `shell`: real packages, real namespaces, as root and as an ordinary user."""

import contextlib
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from composing import BOOTUNION, Said, needs_root, run
from test_plan_command import Desk

from bootunion import systemlist
from bootunion.host import again
from bootunion.host.signing import Signer
from bootunion.manifest import Manifest

pytestmark = needs_root
LIBRARY = "usr/lib/demo/library"
USER = 12345


class Room:
    """A store that everybody can read, with two versions of one library."""

    def __init__(self, top: Path, keys: Path) -> None:
        shutil.copytree(keys, top / "keys")
        for directory in (top / "keys", top / "keys/trust"):
            directory.chmod(0o755)
        self.desk = Desk(top, top / "keys")
        self.home = top / "home"
        self.home.mkdir()
        os.chown(self.home, USER, USER)
        self.one = self.desk.package("libdemo", "1", **{LIBRARY: "one\n", "etc/demo": "1\n"})
        self.two = self.desk.package("libdemo", "2", **{LIBRARY: "two\n"})

    def box(self) -> Manifest:
        """A package with a shell and its tools, which needs no library."""
        tree = self.desk.top / "box-1"
        if not tree.exists():
            (tree / "usr/bin").mkdir(parents=True)
            (tree / "bin").symlink_to("usr/bin")
            shutil.copy(shutil.which("busybox") or "", tree / "usr/bin/busybox")
            for name in ("sh", "cat", "ls", "id", "ps", "touch", "mount", "pwd"):
                (tree / "usr/bin" / name).symlink_to("busybox")
        return self.desk.tree("box", "1", tree)

    def argv(self, *words: object, user: int = 0, command: str = "run") -> list[str]:
        before = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        where = ["--store", str(self.desk.store.path), "--trust", str(self.desk.keys / "trust")]
        return [*before, str(BOOTUNION), command, *where, *map(str, words)]

    def say(self, *words: object, user: int = 0) -> Said:
        home = {"HOME": str(self.home)} if user else {}
        return run(self.argv(*words, user=user), **home)

    def out(self, *words: object, user: int = 0) -> str:
        said = self.say(*words, user=user)
        assert said.status == 0, said.err
        return said.out


@pytest.fixture
def room(keys: Path) -> Iterator[Room]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Room(Path(name), keys)


@pytest.fixture(params=[0, USER], ids=["root", "user"])
def user(request: pytest.FixtureRequest) -> int:
    if request.param and not Path("/dev/fuse").exists():
        pytest.skip("this kernel has no FUSE, which who has no privileges needs")
    return int(request.param)


def traces() -> tuple[str, list[str], list[str]]:
    """What a process root could leave: mounts of this namespace, loop devices, programs."""
    loops = [one for one in Path("/sys/block").glob("loop*/loop/backing_file")
             if "libdemo" in one.read_text() or "box_" in one.read_text()]  # fmt: skip
    programs = [one for one in Path("/proc").glob("[0-9]*/cmdline")
                if b"squashfuse" in _text(one)]  # fmt: skip
    mounts = Path("/proc/self/mountinfo").read_text()
    return mounts, [str(one) for one in loops], [str(one) for one in programs]


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def wait_for(what: str, condition: object) -> None:
    end = time.monotonic() + 30
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.05)


@contextlib.contextmanager
def leaving_nothing() -> Iterator[None]:
    before = traces()
    yield
    wait_for("something is left", lambda: traces() == before)


def test_two_programs_see_two_versions_at_one_path(room: Room, user: int) -> None:
    with leaving_nothing():
        assert room.out("--with", "libdemo=1", "--", "cat", f"/{LIBRARY}", user=user) == "one\n"
        assert room.out("--with", "libdemo=2", "--", "cat", f"/{LIBRARY}", user=user) == "two\n"
        assert not Path("/", LIBRARY).exists()


def test_the_newest_version_is_meant_when_none_is_named(room: Room) -> None:
    assert room.out("--with", "libdemo", "--", "cat", f"/{LIBRARY}") == "two\n"
    by_hash = room.one.image.root_hash
    assert room.out("--with", by_hash, "--", "cat", f"/{LIBRARY}") == "one\n"


def test_a_packages_settings_come_beside_the_machines(room: Room, user: int) -> None:
    said = room.out("--with", "libdemo=1", "--", "cat", "/etc/demo", "/etc/passwd", user=user)
    assert said.startswith("1\n") and "root:" in said


def test_a_pure_root_holds_the_packages_and_nothing_else(room: Room, user: int) -> None:
    box = room.box()
    room.desk.list(box, room.two)
    with leaving_nothing():
        said = room.out("--pure", "--list", "desk", "--", "sh", "-c",
                        f"cat /{LIBRARY}; ls /usr/bin; ls /; ls /usr/lib", user=user)  # fmt: skip
    lines = said.split()
    assert lines[0] == "two" and "busybox" in lines and "python3" not in lines
    assert "pkgs" not in lines and "var" not in lines and "home" in lines


def test_unlisted_packages_are_reached_by_no_path(room: Room, user: int) -> None:
    room.desk.list(room.box())
    outside = subprocess.Popen(
        room.argv("--with", "libdemo=1", "--", "sleep", "60", user=user),
        env={**os.environ, "HOME": str(room.home)},
    )
    try:
        script = (f"for p in /proc/[0-9]*/root/{LIBRARY} /{LIBRARY} /proc/1/cwd/{LIBRARY}; do "
                  "cat $p 2> /dev/null && echo FOUND; done; ls -d /proc/[0-9]*; "
                  "cat /proc/self/mountinfo")  # fmt: skip
        said = room.out("--pure", "--list", "desk", "--", "sh", "-c", script, user=user)
        assert "FOUND" not in said and f"/proc/{outside.pid}\n" not in said
        assert "libdemo" not in said
    finally:
        outside.kill()
        outside.wait()


def test_a_root_cannot_be_written_and_the_machine_is_not(room: Room) -> None:
    with leaving_nothing():
        said = room.say("--with", "libdemo=1", "--", "touch", "/usr/lib/demo/new")
        assert said.status == 1 and "Read-only" in said.err
        assert not Path("/usr/lib/demo").exists()
        marker = room.home / "marker"
        room.out("--with", "libdemo=1", "--", "touch", marker)
        assert marker.exists()


def test_status_directory_and_environment_pass_through(room: Room, user: int) -> None:
    env = {**os.environ, "HOME": str(room.home), "COLOUR": "green"}
    argv = room.argv("--with", "libdemo=1", "--", "sh", "-c", "pwd; echo $COLOUR; exit 42",
                     user=user)  # fmt: skip
    done = subprocess.run(argv, cwd=room.home, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 42, done.stderr
    assert done.stdout == f"{room.home}\ngreen\n"


def test_the_directory_is_kept_where_the_root_is_another(room: Room) -> None:
    argv = room.argv("--pure", "--with", "box", "--", "pwd")
    room.box()
    Path("/home/bootunion-test").mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            argv, cwd="/home/bootunion-test", capture_output=True, text=True, check=True
        )
    finally:
        Path("/home/bootunion-test").rmdir()
    assert done.stdout == "/home/bootunion-test\n"
    done = subprocess.run(argv, cwd="/usr/share", capture_output=True, text=True, check=True)
    assert done.stdout == "/\n" and "starting in /" in done.stderr


def test_standard_input_passes_through(room: Room) -> None:
    argv = room.argv("--with", "libdemo=1", "--", "cat")
    done = subprocess.run(argv, input="words\n", capture_output=True, text=True, check=True)
    assert done.stdout == "words\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_reaches_the_program_and_its_end_is_ours(
    room: Room, number: signal.Signals
) -> None:
    script = f"trap 'echo caught; exit 3' {number.name[3:]}; echo ready; while :; do sleep .1; done"
    argv = room.argv("--with", "libdemo=1", "--", "sh", "-c", script)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        try:
            assert child.communicate(timeout=30)[0] == "caught\n"
        finally:
            child.kill()
    assert child.returncode == 3


def test_a_program_that_a_signal_ends_ends_us_alike(room: Room) -> None:
    said = room.say("--with", "libdemo=1", "--", "sh", "-c", "kill -USR2 $$")
    assert said.status == -signal.SIGUSR2
    said = room.say("--with", "libdemo=1", "--", "sh", "-c", "kill -KILL $$")
    assert said.status == -signal.SIGKILL


def test_orphans_end_with_the_program(room: Room, user: int) -> None:
    with leaving_nothing():
        room.out("--with", "libdemo=1", "--", "sh", "-c", "sleep 4711 > /dev/null 2>&1 & exit 0",
                 user=user)  # fmt: skip
    found = subprocess.run(["pgrep", "-f", "sleep 4711"], capture_output=True, check=False)
    assert found.returncode == 1


def test_nothing_is_left_after_kill_9(room: Room, user: int) -> None:
    with leaving_nothing():
        argv = room.argv("--with", "libdemo=1", "--", "sh", "-c", "echo up; sleep 4712", user=user)
        env = {**os.environ, "HOME": str(room.home)}
        with subprocess.Popen(argv, stdout=subprocess.PIPE, env=env, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "up\n"
            child.kill()
    wait_for(
        "the program outlives its caller",
        lambda: (
            subprocess.run(
                ["pgrep", "-f", "sleep 4712"], capture_output=True, check=False
            ).returncode
            == 1
        ),
    )


def on_a_terminal(argv: list[str]) -> tuple[int, int]:
    child, terminal = pty.fork()
    if child == 0:
        os.execv(argv[0], argv)
    return child, terminal


def read_until(terminal: int, wanted: bytes) -> bytes:
    seen, end = b"", time.monotonic() + 30
    while wanted not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
        assert ready, seen
        seen += os.read(terminal, 4096)
    return seen


def test_the_terminal_passes_through_and_ctrl_c_comes_once(room: Room) -> None:
    script = ("test -t 0 && test -t 1 && echo tty; n=0; trap 'n=$((n+1)); echo got $n' INT; "
              "echo ready; for i in 1 2 3 4 5 6 7 8; do sleep .2; done; exit $n")  # fmt: skip
    child, terminal = on_a_terminal(room.argv("--with", "libdemo=1", "--", "bash", "-c", script))
    try:
        assert b"tty" in read_until(terminal, b"ready")
        os.write(terminal, b"\x03")
        read_until(terminal, b"got 1")
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 1
    finally:
        os.close(terminal)


def test_ctrl_z_stops_it_for_the_shell_that_waits(room: Room) -> None:
    child, terminal = on_a_terminal(["/bin/bash", "--norc", "-i"])
    try:
        line = " ".join(room.argv("--with", "libdemo=1", "--", "sh", "-c"))
        os.write(terminal, b"PS1=\n")
        os.write(terminal, f"{line} 'echo r''eady; sleep 1; echo d''one'\n".encode())
        read_until(terminal, b"ready")
        os.write(terminal, b"\x1a")
        read_until(terminal, b"Stopped")
        os.write(terminal, b"fg\n")
        read_until(terminal, b"done")
        os.write(terminal, b"exit\n")
        os.waitpid(child, 0)
    finally:
        os.close(terminal)


def test_a_shell_is_the_persons_own_and_knows_where_it_is(room: Room) -> None:
    argv = room.argv("--with", "libdemo=1", command="shell")
    done = subprocess.run(
        argv, input=f"echo $BOOTUNION_ROOT; cat /{LIBRARY}", capture_output=True, text=True,
        env={**os.environ, "SHELL": "/bin/sh"}, check=True,
    )  # fmt: skip
    assert done.stdout == "+libdemo=1\none\n"


def test_a_damaged_package_is_refused_before_it_is_mounted(room: Room, user: int) -> None:
    image = room.desk.store.packages / room.one.file_name
    assert room.out("--with", "libdemo=1", "--", "cat", f"/{LIBRARY}", user=user) == "one\n"
    data = bytearray(image.read_bytes())
    data[200] ^= 1
    image.write_bytes(data)  # its times tell that it has to be read again
    said = room.say("--with", "libdemo=1", "--", "cat", f"/{LIBRARY}", user=user)
    said.refused("root-hash-mismatch", 125)


def test_what_nobody_signed_is_refused(room: Room) -> None:
    manifest = room.desk.store.packages / f"{room.one.stem}.json"
    text = manifest.read_text()
    at = text.index('"sig":"') + 20
    manifest.write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :])
    room.say("--with", "libdemo=1", "--", "true").refused("signature-invalid", 125)


def test_what_is_missing_is_said(room: Room) -> None:
    room.say("--with", "nothing", "--", "true").refused("package-missing", 125)
    room.say("--pure", "--", "true").refused("package-missing", 125)
    room.desk.list(room.one)
    room.say("--pure", "--list", "desk", "--without", "other", "--", "true").refused(
        "package-missing", 125
    )
    (room.desk.store.packages / room.one.file_name).unlink()
    said = room.say("--pure", "--list", "desk", "--", "true")
    said.refused("source-failed", 125)
    assert room.say("--with", "libdemo=2", "--", "no-such-program").status == 127
    assert room.say("--with", "libdemo=2", "--", "/etc/passwd").status == 126


def test_what_a_list_lacks_is_fetched(room: Room) -> None:
    room.desk.list(room.box(), room.one)
    published = room.desk.top / "published"
    where = ["--store", str(room.desk.store.path), "--trust", str(room.desk.keys / "trust")]
    assert run([str(BOOTUNION), "publish", str(published), *where]).status == 0
    for path in room.desk.store.packages.glob("libdemo_1_*"):
        path.unlink()
    said = room.out("--pure", "--list", "desk", "--source", published, "--", "cat", f"/{LIBRARY}")
    assert said == "one\n"


def test_the_plan_is_shown_and_nothing_is_done(room: Room) -> None:
    said = room.out("--with", "libdemo=1", "--plan", "--", "touch", room.home / "done")
    assert "unite" in said and room.one.image.root_hash in said
    assert not (room.home / "done").exists()


@pytest.mark.parametrize(("field", "value", "code"), [
    ("expires", 5, "list-expired"), ("architecture", "arm64", "architecture-mismatch"),
])  # fmt: skip
def test_a_list_that_must_not_be_used_here_is_refused(
    room: Room, field: str, value: object, code: str
) -> None:
    made = room.desk.list(room.box(), room.two)
    made = made._replace(name="other", **{field: value})
    envelope = Signer(room.desk.keys / "list.key")(made.encode(), systemlist.PAYLOAD_TYPE)
    room.desk.store.add_list("other", 1, envelope)
    said = room.say("--pure", "--list", "other", "--", "true")
    said.refused(code, 125)


def worked_out(room: Room, *words: object) -> tuple[str, bool]:
    """What a start says, and whether it was worked out (rather than done as before)."""
    argv = room.argv(*words)
    argv[0] = str(BOOTUNION)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *argv], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == 0, said
    return done.stdout, "bootunion.host.cli" in done.stderr


def test_a_second_start_is_not_worked_out_again(room: Room) -> None:
    words = ("--with", "libdemo", "--", "cat", f"/{LIBRARY}")
    assert worked_out(room, *words) == ("two\n", True)
    assert worked_out(room, *words) == ("two\n", False)
    other = (*words[:-1], "/etc/hostname")
    assert not worked_out(room, *other)[1]


def test_what_has_changed_is_worked_out_again(room: Room) -> None:
    words = ("--with", "libdemo", "--", "cat", f"/{LIBRARY}")
    worked_out(room, *words)
    room.desk.package("libdemo", "3", **{LIBRARY: "three\n"})
    assert worked_out(room, *words) == ("three\n", True)
    room.desk.list(room.box(), room.one)
    words = ("--pure", "--list", "desk", *words[2:])
    worked_out(room, *words)
    assert worked_out(room, *words) == ("one\n", False)
    room.desk.list(room.box(), room.two, generation=2)
    assert worked_out(room, *words) == ("two\n", True)


def test_what_is_remembered_ends_with_the_list(room: Room) -> None:
    made = room.desk.list(room.box(), room.two)
    made = made._replace(name="short", expires=int(time.time()) + 8)
    envelope = Signer(room.desk.keys / "list.key")(made.encode(), systemlist.PAYLOAD_TYPE)
    room.desk.store.add_list("short", 1, envelope)
    words = ("--pure", "--list", "short", "--", "cat", f"/{LIBRARY}")
    assert room.out(*words) == "two\n"
    time.sleep(max(0, made.expires - time.time()))
    room.say(*words).refused("list-expired", 125)


def test_what_is_remembered_by_somebody_else_is_not_believed(room: Room) -> None:
    words = ("--with", "libdemo", "--", "cat", f"/{LIBRARY}")
    shutil.rmtree(again.PLACE, ignore_errors=True)
    worked_out(room, *words)
    (remembered,) = Path(again.PLACE).iterdir()
    os.chown(remembered, USER, USER)
    assert worked_out(room, *words) == ("two\n", True)
    remembered.write_bytes(b"nonsense")
    os.chown(remembered, 0, 0)
    assert worked_out(room, *words) == ("two\n", True)
