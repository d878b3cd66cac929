"""What the tests of the helper share: a system's store, and the server as a process of its own."""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bootunion import systemlist
from bootunion.host import build, packaging, signing
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.manifest import Manifest
from bootunion.systemlist import Layer, SystemList

TOP = Path(__file__).resolve().parents[1]
SOMEBODY = 1000


class System(NamedTuple):
    """A system with keys, a store and a place for the socket that everybody reaches."""

    top: Path
    store: Store
    packages: dict[str, Manifest]

    @property
    def trust(self) -> Path:
        return self.top / "keys/trust"

    @property
    def socket(self) -> Path:
        return self.top / "helper.socket"

    def signer(self, role: str = "package") -> Signer:
        return Signer(self.top / f"keys/{role}.key")

    def package(self, name: str, version: str, files: dict[str, str | bytes],
                signer: Signer | None = None) -> Manifest:  # fmt: skip
        """Make a package; a file's text, or "" for a directory."""
        tree = Path(tempfile.mkdtemp(dir=self.top))
        for path, data in files.items():
            place = tree / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data if isinstance(data, bytes) else data.encode())
        return self.package_of(name, version, tree, signer)

    def package_of(
        self, name: str, version: str, tree: Path, signer: Signer | None = None
    ) -> Manifest:
        about = Description(name, version, "all")
        made = packaging.write_package(
            self.store, build.members(tree), about, None, signer or self.signer()
        )
        shutil.rmtree(tree)
        return made

    def add_list(self, name: str, generation: int, *packages: Manifest, key: str = "list",
                 needs: Mapping[str, str] = {}, **other: object) -> None:  # fmt: skip
        """Sign a list; `needs` by package's name, `other` fields of it as they are."""
        layers = tuple(Layer(p.name, p.version, p.architecture, p.image,
                             needs.get(p.name, "required")) for p in packages)  # fmt: skip
        made = SystemList(name, generation, 1, 1_700_000_000, "amd64", "", layers, "none",
                          "0" * 64)._replace(**other)  # type: ignore[arg-type]  # fmt: skip
        envelope = self.signer(key)(made.encode(), systemlist.PAYLOAD_TYPE)
        self.store.add_list(name, generation, envelope)

    def devices(self) -> list[str]:
        """The backing files of the loop devices that are made of this store's packages."""
        found = []
        for one in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                found.append(one.read_text())
        return [one for one in found if str(self.store.path) in one]


def make(top: Path) -> System:
    """A store with two versions of `lib`, a `tool` and a list of them."""
    top.chmod(0o755)
    signing.generate(top / "keys")
    signing.generate(top / "stranger")
    system = System(top, Store(top / "store").create(), {})
    for version in ("1.0", "2.0"):
        made = system.package("lib", version, {"usr/lib/lib.so": f"lib {version}\n"})
        system.packages[f"lib={version}"] = made
    system.packages["tool"] = system.package("tool", "1", {"usr/bin/tool": "a tool\n"})
    system.add_list("base", 1, system.packages["lib=1.0"], system.packages["tool"])
    system.add_list("base", 2, system.packages["lib=2.0"], system.packages["tool"])
    return system


@contextlib.contextmanager
def serving(system: System, *argv: str, program: str = "-mbootunion.helper") -> Iterator[
    "subprocess.Popen[str]"
]:  # fmt: skip
    """The helper as systemd starts it, with its socket as descriptor 3.

    It has to be there and well at the end, unless it ended by itself with success.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    system.socket.unlink(missing_ok=True)
    listening.bind(str(system.socket))
    system.socket.chmod(0o666)
    listening.listen(64)
    # As the socket's number is 3, this process' own 3 must not be in the way.
    script = f'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&{listening.fileno()}'
    work = system.top / "work"
    work.mkdir(exist_ok=True)
    words = [sys.executable, "-B", program, f"--store={system.store.path}",
             f"--trust={system.trust}", f"--directory={work}", *argv]  # fmt: skip
    with (system.top / "log").open("w") as log:
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", *words], cwd=TOP, text=True, stderr=log,
            pass_fds=[listening.fileno()],
        )  # fmt: skip
    listening.close()
    try:
        say(system, b"are you there?")
        wait_for(lambda: not children(process.pid))
        yield process
        assert process.poll() in (None, 0), (system.top / "log").read_text()
        # Its requests are over, and it has seen that.
        wait_for(lambda: process.poll() == 0 or not [*children(process.pid), *work.iterdir()])
    finally:
        process.terminate()
        process.wait()
    wait_for(lambda: not system.devices())
    assert list(work.iterdir()) == []


def children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def wait_for(ready: object, seconds: float = 20) -> None:
    """Wait until `ready()` is true; a machine that is busy takes its time."""
    end = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.02)


def say(system: System, data: bytes, descriptors: list[int] | None = None) -> bytes:
    """Send one raw message and give the answer."""
    with connected(system) as talk:
        if descriptors:
            socket.send_fds(talk, [data], descriptors)
        else:
            talk.send(data)
        return talk.recv(1 << 17)


def connected(system: System) -> socket.socket:
    talk = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    talk.connect(str(system.socket))
    talk.settimeout(60)
    return talk
