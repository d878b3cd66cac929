"""Runs inside the booted machine: users, services and shells with roots of their own.

Each look is one line of JSON. The words that begin the command line name the looks, in their order.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from bootunion import dsse, manifest
from bootunion.host.signing import Signer

USERS = ("alice", "bob", "carol")
PASSWORD = "bootunion"  # of a machine without a network
SSH = ("ssh", "-q", "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes")
TABLE = Path("/etc/bootunion/users.yaml")
ENTRIES = """
alice: {with: [libpin=1.0, pin-tool]}
"@developers": {list: tools}
"""
LOOK = "/var/lib/reach.py"  # the machine's /var is in each root


def words(*argv: str, check: bool = True) -> str:
    """What a program says, errors included."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          stdin=subprocess.DEVNULL)  # fmt: skip
    said = done.stdout.decode(errors="replace").strip()
    if check and done.returncode:
        raise RuntimeError(f"{argv}: {said}")
    return said


def tell(name: str, found: object) -> None:
    print("BOOTUNION-" + f"LOOK {json.dumps({'name': name, 'found': found})}", flush=True)


def devices() -> list[str]:
    """The loop and dm devices that there are, by what they are of."""
    found = []
    for block in Path("/sys/block").iterdir():
        for what in ("loop/backing_file", "dm/uuid"):
            with contextlib.suppress(OSError):
                found.append((block / what).read_text().strip())
    return sorted(found)


def mounts(process: object = 1) -> list[str]:
    """The mount points of a process."""
    with open(f"/proc/{process}/mountinfo") as file:
        return sorted(line.split()[4] for line in file)


def settled(wanted: list[str]) -> list[str]:
    """What devices are more than `wanted` when half a minute has not made them go."""
    for _ in range(60):
        more = sorted(set(devices()) - set(wanted))
        if not more:
            break
        time.sleep(0.5)
    return more


class Shell:
    """A shell that stays, to be asked."""

    def __init__(self, *argv: str) -> None:
        self._process = subprocess.Popen(
            [*argv, "sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.number = self._process.pid

    def ask(self, command: str) -> str:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{command}\necho; echo THAT-WAS'-'IT\n")
        self._process.stdin.flush()
        said = []
        for line in self._process.stdout:
            if line.strip() == "THAT-WAS-IT":
                return "".join(said).strip()
            said.append(line)
        raise RuntimeError(f"the shell ended: {said}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def as_carol(*argv: str) -> tuple[str, ...]:
    return (*argv, "setpriv", "--reuid=carol", "--regid=carol", "--init-groups", "env",
            "HOME=/home/carol")  # fmt: skip


def run(*packages: str) -> tuple[str, ...]:
    wanted = [word for name in packages for word in ("--with", name)]
    return as_carol("bootunion", "run", *wanted, "--")


def found_by(shell: Shell, command: str) -> object:
    """The JSON that a command in the shell ends with."""
    said = shell.ask(command)
    try:
        return json.loads(said.splitlines()[-1])
    except (ValueError, IndexError):
        raise RuntimeError(said) from None


def look(shell: Shell, *allowed: str) -> object:
    return found_by(shell, f"python3 {LOOK} {' '.join(allowed)}")


def prepare() -> None:
    """Users, their keys and entries; PAM, as docs/logins.md has it."""
    words("groupadd", "bootunion-logins")
    words("groupadd", "developers")
    words("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/key")
    for name in USERS:
        words("useradd", "-m", "-s", "/bin/bash", name)
        subprocess.run(["chpasswd"], input=f"{name}:{PASSWORD}".encode(), check=True)
    for name in ("root", *USERS):
        home = Path("/root" if name == "root" else f"/home/{name}")
        keys = home / ".ssh"
        keys.mkdir(mode=0o700, exist_ok=True)
        shutil.copy("/root/key.pub", keys / "authorized_keys")
        words("chown", "-R", f"{name}:", str(keys))
    words("gpasswd", "-a", "alice", "bootunion-logins")
    words("gpasswd", "-a", "bob", "bootunion-logins")
    words("gpasswd", "-a", "bob", "developers")
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(ENTRIES)
    # Debian has this one below /usr/lib: what is in /etc takes the whole file's place.
    shutil.copy("/usr/lib/pam.d/systemd-user", "/etc/pam.d/systemd-user")
    for service in ("sshd", "login", "systemd-user"):
        with open(f"/etc/pam.d/{service}", "a") as file:
            file.write("@include bootunion-login\n")
    shutil.copy("/pkgs/tests/reach.py", LOOK)
    tell("asked", {name: words("bootunion", "login-root", name) for name in USERS})


def shells() -> None:
    """Two shells, two versions; a third has none; and what is left when they are killed."""
    before, table = devices(), mounts()
    other = Shell(*as_carol())
    quiet = other.ask("readlink /proc/self/ns/mnt; wc -l < /proc/self/mountinfo")
    one = Shell(*run("libpin=1.0", "pin-tool"))
    two = Shell(*run("libpin=2.0", "pin-tool"))
    three = Shell(*run("pin-tool"))
    tell("shells", {
        "one": look(one, "1"), "two": look(two, "2"), "three": look(three), "other": look(other),
    })  # fmt: skip
    tell("machine", {
        "other": quiet == other.ask("readlink /proc/self/ns/mnt; wc -l < /proc/self/mountinfo"),
        "mounts": mounts() == table,
        "library": os.path.exists("/usr/lib/x86_64-linux-gnu/libpin.so.1"),
    })  # fmt: skip
    more = len(set(devices()) - set(before))
    for shell in (one, two, three, other):
        shell.kill()
    tell("shells-left", {"while": more, "after": settled(before), "mounts": mounts() == table})


def helped() -> None:
    """The same shells, started by a user without privileges: the helper mounts for them."""
    before = devices()
    words("systemctl", "start", "bootunion-helper.socket")

    def start(*packages: str) -> Shell:
        wanted = [word for name in packages for word in ("--with", name)]
        return Shell(*as_carol(), "bootunion", "run", *wanted, "--")

    one, two = start("libpin=1.0", "pin-tool"), start("libpin=2.0", "pin-tool")
    three = start("pin-tool")
    tell("helped", {
        "one": look(one, "1"), "two": look(two, "2"), "three": look(three),
        "checked": [each.ask("echo $BOOTUNION_VERIFICATION") for each in (one, two, three)],
        "user": one.ask("id -un"),
    })  # fmt: skip
    for shell in (one, two, three):
        shell.kill()
    tell("helped-left", settled(before))


PROJECT = Path("/var/lib/project")
OWN = Path("/root/.cache/bootunion/packages")
IMPORT = """
import demo, json, os
place, checked = demo.__file__[:14], os.environ["BOOTUNION_VERIFICATION"]
others = os.path.exists("/usr/lib/python3/dist-packages/yaml")
print(json.dumps({"value": demo.VALUE, "place": place, "checked": checked, "others": others}))
"""


def in_project(*before: str) -> tuple[str, ...]:
    return (*before, "env", "PIP_NO_INDEX=1", "PIP_FIND_LINKS=/pkgs/tests", "bootunion", "run",
            "--project", str(PROJECT), "--")  # fmt: skip


def give_to_everybody() -> None:
    """Put root's own packages into the system's store, signed by the system's key."""
    words("mount", "-o", "remount,rw", "/pkgs")
    sign = Signer(Path("/pkgs/tests/package.key"))
    for one in OWN.iterdir():
        target = Path("/pkgs/packages") / one.name
        if one.suffix == ".json":
            said = dsse.decode(one.read_bytes(), subject=one.name)
            target.write_bytes(sign(said.payload, manifest.PAYLOAD_TYPE))
        else:
            shutil.copy(one, target)


def project() -> None:
    """A project with one wheel: root's, then carol's by the helper, both killed."""
    before, table = devices(), mounts()
    PROJECT.mkdir()
    (wheel,) = Path("/pkgs/tests").glob("demo-1.0-*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (PROJECT / "requirements.txt").write_text(f"demo==1.0 --hash=sha256:{digest}\n")
    (PROJECT / "say.py").write_text(IMPORT)
    ask = f"python {PROJECT}/say.py"
    root = Shell(*in_project())
    found: dict[str, object] = {"root": found_by(root, ask)}
    found["devices"] = len(set(devices()) - set(before))
    found["refused"] = words(*in_project(*as_carol()), "true", check=False)
    give_to_everybody()
    carol = Shell(*in_project(*as_carol()))
    found["carol"] = found_by(carol, ask)
    found["devices-both"] = len(set(devices()) - set(before))
    for shell in (root, carol):
        shell.kill()
    tell("project", {**found, "left": settled(before), "mounts": mounts() == table})


def over_ssh(user: str, *allowed: str) -> object:
    done = subprocess.run(
        [*SSH, "-i", "/root/key", f"{user}@localhost", f"python3 {LOOK} {' '.join(allowed)}"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {"refused": done.returncode}


def logins() -> None:
    """Each user over ssh; one who is there at the same time is killed; nothing is left."""
    before, table = devices(), mounts()
    found = {"alice": over_ssh("alice", "1"), "bob": over_ssh("bob", "2"),
             "carol": over_ssh("carol"), "root": over_ssh("root")}  # fmt: skip
    tell("ssh", found)
    staying = subprocess.Popen([*SSH, "-i", "/root/key", "alice@localhost", "pin; sleep 600"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)  # fmt: skip
    assert staying.stdout is not None
    said = staying.stdout.readline().decode().strip()
    more = len(set(devices()) - set(before))
    words("pkill", "-KILL", "-u", "alice", check=False)
    staying.kill()
    staying.wait()
    tell("ssh-left", {"said": said, "while": more, "after": settled(before),
                      "mounts": [one for one in mounts() if one not in table
                                 and not one.startswith("/run/user/")]})  # fmt: skip


def manager() -> None:
    """A user's own services run in the user's root."""
    found = {}
    for user in ("alice", "carol"):
        unit = f"user@{words('id', '-u', user)}.service"
        words("systemctl", "start", unit, check=False)
        process = words("systemctl", "show", "-P", "MainPID", unit)
        library = f"/proc/{process}/root/usr/lib/x86_64-linux-gnu/libpin.so.1"
        found[user] = {"active": words("systemctl", "is-active", unit, check=False),
                       "library": os.path.exists(library)}  # fmt: skip
        if found[user]["active"] != "active":
            found[user]["why"] = words("journalctl", "-b", "--no-pager", "-o", "cat", "-n", "20",
                                       "-u", unit)  # fmt: skip
        words("systemctl", "stop", unit)
    tell("manager", found)


def broken() -> None:
    """A table that nobody can read keeps those out who are in the group, and nobody else."""
    TABLE.write_text("alice: {")
    tell("broken", {user: over_ssh(user) for user in ("alice", "carol", "root")})
    tell("broken-said", words("journalctl", "-b", "--no-pager", "-o", "cat", "-t", "bootunion"))
    TABLE.write_text(ENTRIES)


def service() -> None:
    """A service of list `tools`, and the same program without it."""
    before, table = devices(), mounts()
    Path("/etc/systemd/system/pin.service").write_text(
        "[Service]\nType=oneshot\nExecStart=/usr/bin/pin\nSyslogIdentifier=pin\n"
    )
    tell("drop-in", words("bootunion", "service", "pin.service", "--list", "tools"))
    words("systemctl", "daemon-reload")
    started = words("systemctl", "start", "pin.service", check=False)
    words("journalctl", "--sync")
    said = words("journalctl", "-b", "--no-pager", "-o", "cat", "-t", "pin")
    root = words("systemctl", "is-active", "bootunion-root@tools.service", check=False)
    status = words("systemctl", "status", "bootunion-root@tools.service", "pin.service",
                   check=False) if started else ""  # fmt: skip
    words("systemctl", "stop", "bootunion-root@tools.service")
    words("bootunion", "service", "pin.service", "--remove")
    words("systemctl", "daemon-reload")
    alone = words("systemctl", "start", "pin.service", check=False)
    tell("service", {"started": started, "said": said, "root": root, "alone": alone[:60],
                     "after": settled(before), "mounts": mounts() == table,
                     "status": status})  # fmt: skip


def main() -> None:
    for name in sys.argv[1:]:
        start = time.monotonic()
        globals()[name]()
        tell(f"seconds of {name}", round(time.monotonic() - start, 1))


main()
