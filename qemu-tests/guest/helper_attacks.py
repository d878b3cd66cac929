"""Runs as root in a machine with systemd: asks the real helper, attacks it, looks what is left.

Says what it found as lines of JSON on the console; qemu-tests/test_helper.py says what is right.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bootunion.errors import BootunionError
from bootunion.helper import protocol
from bootunion.helper.protocol import Request
from bootunion.host.processes import asking

HERE = Path(__file__).parent
PKGS = Path("/pkgs")
SOCKET = "/run/bootunion/helper.socket"
UNIT = "bootunion-helper.service"
RACES = 30
KILLS = 24
FLOOD = 300


def client(request: dict[str, object], *how: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, HERE / "helper_client.py", SOCKET, json.dumps(request), *how],
        user=1000, group=1000, extra_groups=[], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def asked(**request: object) -> dict[str, object]:
    said, _ = client(request).communicate(timeout=120)
    found: dict[str, object] = json.loads(said)
    return found


def say(data: bytes) -> str:
    """The code that a raw message is refused with; "granted" or "closed"."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as talk:
            talk.connect(SOCKET)
            talk.settimeout(60)
            with contextlib.suppress(BrokenPipeError):
                talk.send(data)
            try:
                answer = talk.recv(65536)
            except ConnectionResetError:
                answer = talk.recv(65536)
        if not answer:
            return "closed"
        protocol.decode_answer(answer)
    except BootunionError as error:
        return error.code
    return "granted"


def left() -> list[str]:
    """Devices and mounts of packages that are there though nobody uses a tree."""
    found = []
    for pattern in ("dm-*/dm/name", "loop*/loop/backing_file"):
        for name in Path("/sys/block").glob(pattern):
            with contextlib.suppress(OSError):  # it is just going
                found.append(name.read_text().strip())
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for line in (process / "mountinfo").read_text().splitlines():
                if " squashfs " in line or " overlay " in line:
                    found.append(f"{process.name}: {line}")
    with contextlib.suppress(FileNotFoundError):
        found += [str(one) for one in Path("/run/bootunion-helper").iterdir()]
    return found


def gone(seconds: float = 20) -> list[str]:
    """What is left after a while: a killed process takes its time to go."""
    end = time.monotonic() + seconds
    while (found := left()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def server() -> int:
    said = subprocess.check_output(["systemctl", "show", "-P", "MainPID", UNIT], text=True)
    return int(said)


def requests_of(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def versions() -> object:
    """Three people at once: two versions of one library at one path, and none."""
    before = Path("/proc/self/mountinfo").read_text()
    holders = [client({"with_": one}, "hold") for one in (["lib=1.0", "tool"], ["lib", "tool"],
                                                          ["tool"])]  # fmt: skip
    found = [json.loads(one.stdout.readline()) for one in holders if one.stdout]
    names = sorted(one.read_text().strip() for one in Path("/sys/block").glob("dm-*/dm/name"))
    unchanged = Path("/proc/self/mountinfo").read_text() == before
    for one in holders:
        one.communicate()
    return {"files": [one.get("files", one) for one in found], "devices": len(names),
            "roots_mounts_unchanged": unchanged, "left": gone()}  # fmt: skip


def lists() -> object:
    other: dict[str, object] = {"generation": 1, "with_": ["lib=2.0"], "without": ["tool"]}
    found = [asked(list_name="base", **one) for one in ({"generation": 1}, {}, other)]
    return [one.get("files", one) for one in found]


def odd() -> object:
    """setuid, file capabilities and device nodes, in a package that the system's key signed."""
    found = [asked(with_=["odd"]), asked(with_=["odd", "tool"])]
    return [{key: one.get(key) for key in one if key not in ("files", "granted")} for one in found]


def unsigned() -> object:
    return {
        "stranger": asked(with_=["mine"]).get("code"),
        "newer by a stranger": asked(with_=["lib"]).get("files"),
        "of another's cache": asked(with_=["private"]).get("code"),
        "not there": asked(with_=["nobodys"]).get("code"),
        "list by a package's key": asked(list_name="forged").get("code"),
        "damaged, not yet read": asked(with_=["damaged", "tool"]).get("code"),
        "left": gone(),
    }


def tricks() -> object:
    good = {"schema": 1, "list": "base", "with": [], "without": []}
    cases = [{**good, key: value} for key, value in (
        ("list", "../base"), ("list", "/etc"), ("list", "base@../1"), ("with", ["../lib"]),
        ("with", ["/etc/shadow"]), ("without", ["a/b"]), ("target", "/etc"), ("path", "/etc"),
        ("base", "/"), ("store", "/home"), ("options", ["suid"]), ("uid", 0),
    )]  # fmt: skip
    before = Path("/etc/passwd").read_text()
    heard = [say(json.dumps(one).encode()) for one in cases]
    heard += [say(one) for one in (b"x", b"\0" * 65536, b" " * 100_000, b"[" * 60_000)]
    return {"heard": sorted(set(heard)), "etc": Path("/etc/passwd").read_text() == before,
            "left": gone()}  # fmt: skip


@contextlib.contextmanager
def exchanged(path: Path, forms: list[Path]) -> Iterator[None]:
    """Somebody renames other files over `path` all the time."""
    over = threading.Event()
    good = path.read_bytes()

    def exchange() -> None:
        number = 0
        while not over.is_set():
            aside = path.with_suffix(".aside")
            with contextlib.suppress(FileNotFoundError):
                aside.unlink()
            form = forms[number % len(forms)]
            if number % 5 == 4:
                aside.symlink_to(form)
            else:
                os.link(form, aside)
            aside.rename(path)
            number += 1
            time.sleep(0.001)

    racer = threading.Thread(target=exchange)
    racer.start()
    try:
        yield
    finally:
        over.set()
        racer.join()
        path.unlink()
        path.write_bytes(good)


def races() -> object:
    """A package, a manifest, a list that are exchanged while they are asked for."""
    tool = next((PKGS / "packages").glob("tool_1_*.squashfs"))
    forms = HERE / "forms"
    found = {}
    for name, path, request in (
        ("image", tool, {"with_": ["tool", "lib"]}),
        ("manifest", tool.with_suffix(".json"), {"with_": ["tool", "lib"]}),
        ("list", PKGS / "lists/base/2.json", {"list_name": "base", "generation": 2}),
    ):
        heard: dict[str, int] = {}
        good = HERE / f"good-{name}"
        shutil.copy(path, good)
        with exchanged(path, [good, *sorted(forms.glob(f"{name}-*"))]):
            for _ in range(RACES):
                one = asked(**request)
                files = one.get("files")
                if files is None:
                    key = str(one.get("code", one))
                    if key == "helper-failed":
                        key = str(one)  # nobody expects it: say why
                else:
                    key = "right" if files.get("/usr/bin/tool") == "a tool\n" else f"WRONG {files}"  # type: ignore[attr-defined]
                heard[key] = heard.get(key, 0) + 1
        found[name] = heard
    return {"heard": found, "left": gone()}


def kills() -> object:
    """kill -9: of the request's process at many moments, of who holds a tree, of the server."""
    request = Request(with_=("lib", "tool", "odd")).encode()
    leftover: list[str] = []
    started = time.monotonic()
    say(request)
    whole = time.monotonic() - started
    killed = 0
    for number in range(KILLS):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as talk:
            talk.connect(SOCKET)
            talk.send(request)
            pid = server()
            end = time.monotonic() + 5
            while not (running := requests_of(pid)) and time.monotonic() < end:
                time.sleep(0.001)
            time.sleep(whole * number / KILLS)
            for one in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
                    killed += 1
        leftover += gone()
    for how in ("keep", "hold"):
        holder = client({"with_": ["lib", "tool"]}, how)
        assert holder.stdout is not None
        holder.stdout.readline()
        held = len(left())
        holder.kill()
        holder.wait()
        leftover += gone() if held >= 2 else [f"only {held} devices were held"]
    talk = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    talk.connect(SOCKET)
    before = server()
    subprocess.run(["systemctl", "kill", "-s", "KILL", UNIT], check=True)
    talk.close()
    leftover += gone()
    again = say(request)
    return {"killed": killed, "left": leftover + gone(), "again": again,
            "another": server() not in (0, before)}  # fmt: skip


def flood() -> object:
    """Many requests at once, and in a row: some refused as busy, none left behind."""
    heard: dict[str, int] = {}
    lock = threading.Lock()
    message = Request(with_=("tool",)).encode()

    def ask_on() -> None:
        for number in range(FLOOD // 6):
            said = say(message if number % 2 else b"garbage")
            with lock:
                heard[said] = heard.get(said, 0) + 1

    threads = [threading.Thread(target=ask_on) for _ in range(6)]
    pid = server()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return {"heard": heard, "left": gone(), "same_server": server() == pid,
            "descriptors": len(os.listdir(f"/proc/{pid}/fd"))}  # fmt: skip


def kept() -> object:
    """Unions that are kept as descriptors: so many of one user, all of the same devices."""
    trees: list[int] = []
    refused = ""
    try:
        while len(trees) < 100:
            trees.append(asking.ask(SOCKET, Request(with_=("lib", "tool")))[0])
    except BootunionError as error:
        refused = error.code
    pid = server()
    found = {
        "kept": len(trees), "refused": refused, "single": say(Request(with_=("tool",)).encode()),
        "another": asked(with_=["lib", "tool"]).get("files"),
        "devices": len([*Path("/sys/block").glob("dm-*/dm/name")]),
    }  # fmt: skip
    time.sleep(30)  # longer than the helper waits for somebody to ask
    found["same_server"] = server() == pid
    for tree in trees:
        os.close(tree)
    return {**found, "left": gone(), "again": say(Request(with_=("lib", "tool")).encode())}


def confinement() -> object:
    """That the unit's sandbox is in force on the process that serves."""
    say(b"x")
    pid = server()
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    network = os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    home = subprocess.run(["nsenter", "-t", str(pid), "-m", "ls", "/home/somebody"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    etc = subprocess.run(["nsenter", "-t", str(pid), "-m", "touch", "/etc/new"],
                         capture_output=True, text=True, check=False)  # fmt: skip
    exposure = subprocess.run(["systemd-analyze", "security", "--no-pager", UNIT],
                              capture_output=True, text=True, check=False).stdout  # fmt: skip
    return {
        "NoNewPrivs": status["NoNewPrivs"], "Seccomp": status["Seccomp"],
        "CapBnd": int(status["CapBnd"], 16), "CapEff": int(status["CapEff"], 16),
        "own_network": network, "home": home.stderr, "etc": etc.stderr,
        "exposure": exposure.strip().splitlines()[-1] if exposure else "",
    }  # fmt: skip


def idle() -> object:
    """The helper ends when nobody asks, and is there again for the next one."""
    say(b"x")
    end = time.monotonic() + 120
    while server() and time.monotonic() < end:
        time.sleep(0.5)
    state = subprocess.run(["systemctl", "show", "-P", "Result", UNIT],
                           capture_output=True, text=True, check=False).stdout.strip()  # fmt: skip
    return {"ended": server() == 0, "result": state, "again": say(Request("base").encode()),
            "left": gone()}  # fmt: skip


LOOKS: tuple[Callable[[], object], ...] = (
    confinement, versions, lists, odd, unsigned, tricks, races, kills, flood, kept, idle,
)  # fmt: skip


def main() -> None:
    for look in LOOKS:
        started = time.monotonic()
        try:
            found = look()
        except Exception as error:
            found = {"broken": f"{type(error).__name__}: {error}"}
        line = {"name": look.__name__, "found": found, "took": time.monotonic() - started}
        print("LOOK " + json.dumps(line), flush=True)
    log = subprocess.run(["journalctl", "-b", "-u", UNIT, "--no-pager", "-o", "cat"],
                         capture_output=True, text=True, check=False).stdout  # fmt: skip
    for text in log.splitlines():
        if "was refused" in text or " packages (" in text:
            continue
        print(f"LOG {text}", flush=True)
    print("LOOKS-DONE", flush=True)
    time.sleep(1)  # the console is slower than the machine's end
    with open("/dev/port", "r+b", buffering=0) as port:
        port.seek(0xF4)
        port.write(bytes([42]))


main()
