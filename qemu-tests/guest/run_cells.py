"""Runs inside the tiny initramfs: the agent against one damaged store after another.

For each cell: the good store with the cell's edits (`medium`), the agent on it in a process of its
own; then what it said, which generation stands at the sysroot, and whether every file
there is right or an I/O error. One line of JSON for each on the console.
"""

import hashlib
import json
import os
import sys

sys.path.append("/usr/lib/bootunion/agent")
sys.path.append("/cells")

from edits import remove, write
from medium import Overlay, Sealed

from bootunion import signature
from bootunion.initrd import agent, mount

WORK = "/w"
SYSROOT = "/w/sysroot"
VIEWS = tuple(f"{WORK}/run/bootunion/private/{name}" for name in ("upper", "index"))


def run_agent(cell: dict[str, object]) -> int:
    """The agent in a child: the modules are imported once, its state is its own."""
    os.makedirs("/w/run", exist_ok=True)
    write("/w/cmdline", f"bootunion=tiny {cell.get('cmdline', '')}".encode())
    child = os.fork()
    if child == 0:
        status = 99
        try:
            said = os.open("/w/said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 2)
            sys.stderr = open(2, "w", closefd=False)
            status = agent.main(
                ["--sysroot", SYSROOT, "--run", "/w/run", "--cmdline", "/w/cmdline", "--kmsg",
                 "/w/kmsg", "--keep-running", "--trust",
                 f"/cells/files/{cell['trust']}" if cell.get("trust") else "/etc/bootunion/trust"]
            )  # fmt: skip
        except BaseException as error:
            print("RAISED", repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def files_right(good: dict[str, str]) -> str:
    """What reading every file of the root gives: "right", "eio", or the first wrong path."""
    verdict = "right"
    for path, digest in good.items():
        try:
            with open(SYSROOT + path, "rb") as file:
                data = file.read()
        except OSError:
            verdict = "eio"
            continue
        if hashlib.sha256(data).hexdigest() != digest:
            return f"WRONG {path}"
    return verdict


def left_over() -> list[str]:
    """Devices that nobody took away."""
    names = [name for name in os.listdir("/sys/block") if name.startswith("dm-")]
    return names + [name for name in os.listdir("/sys/block")
                    if os.path.exists(f"/sys/block/{name}/loop/backing_file")]  # fmt: skip


def run(
    cell: dict[str, object], good: dict[str, dict[str, str]], medium: Overlay | Sealed
) -> dict[str, object]:
    for name in ("sysroot", "run"):
        remove(f"{WORK}/{name}")
        os.makedirs(f"{WORK}/{name}")
    medium.prepare(cell["edits"])  # type: ignore[arg-type]
    status = run_agent(cell)
    found: dict[str, object] = {"name": cell["name"], "status": status}
    try:
        with open("/w/run/bootunion/boot.json") as file:
            found["report"] = report = json.load(file)
        report.pop("steps")
    except OSError as error:
        found["report"] = str(error)
    marker = f"{SYSROOT}/usr/share/generation"
    found["booted"] = booted(marker, found["report"])
    found["store_at_sysroot"] = os.path.exists(f"{SYSROOT}/lists")
    found["files"] = files_right(good[str(found["booted"])]) if found["booted"] else ""
    found["state"] = read(f"{medium.written}/state/tiny.json")
    found["said"] = read("/w/said")
    # The views of upper and index that the agent leaves are mounts of their own.
    for place in (*VIEWS, SYSROOT):
        while os.path.ismount(place):
            mount.unmount(place, mount.MNT_DETACH)
    medium.release()
    for device in left_over():
        if device.startswith("dm-"):
            settle(device)
    found["left_over"] = left_over()
    return found


def booted(marker: str, report: object) -> int:
    """The generation whose root is there; below an index its marker may be what is damaged."""
    try:
        with open(marker) as file:
            return int(file.read())
    except FileNotFoundError:
        return 0
    except OSError:
        return report["list"]["generation"]  # type: ignore[index,no-any-return]


def settle(device: str) -> None:
    # A verity device of a root that was assembled stays until somebody removes it: here, now.
    from bootunion.initrd import dm

    with open(f"/sys/block/{device}/dm/name") as file:
        name = file.read().strip()
    with dm.Control() as control:
        control.remove(name)


def read(path: str) -> str:
    if not os.path.isfile(path):  # a FIFO would keep us waiting
        return ""
    with open(path, errors="replace") as file:
        return file.read()


def main() -> None:
    with open("/cells/cells.json") as file:
        plan = json.load(file)
    os.makedirs(WORK)
    mount.mount("work", WORK, "tmpfs", 0, "mode=0755")
    medium = (Sealed if plan["sealed"] else Overlay)(WORK, SYSROOT)
    signature.verifies(bytes(32), bytes(64), b"")  # imports what the children share
    for cell in plan["cells"]:
        print("CELL", json.dumps(run(cell, plan["good"], medium)), flush=True)
    print("CELLS-" + "DONE", len(plan["cells"]), flush=True)


try:
    main()
except BaseException as error:
    print("CELLS-" + "BROKEN", repr(error), flush=True)
    raise
