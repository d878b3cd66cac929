"""What one user of the helper can keep is bounded, however it is kept."""

import os
import subprocess
import sys
import time
from pathlib import Path

import helping
import pytest
from helping import System, serving, wait_for
from test_helper_server import UNVERIFIED, asked, client, refusal, system

from bootunion.helper.protocol import Request
from bootunion.host.processes import asking

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts, and becomes somebody else")
__all__ = ["system"]
UNION = {"with_": ["lib", "tool"]}

# Locks trees in a user namespace that has room for two more.
LOCK = """
import os, sys, time
from bootunion.helper import assembling
from bootunion.initrd import mount, namespaces
namespaces.unshare(namespaces.NEWUSER | namespaces.NEWNS)
for name, text in (("uid_map", "0 0 1"), ("setgroups", "deny"), ("gid_map", "0 0 1")):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
with open("/proc/sys/user/max_user_namespaces", "w") as file:
    file.write("2")
with mount.FileSystemContext("tmpfs") as context:
    mount.attach(context.mount(), sys.argv[1])
kept, end = [], time.monotonic() + 30
while len(kept) < 10:
    try:
        kept.append(assembling.lock(mount.clone_path(sys.argv[1]), sys.argv[1]))
    except OSError:
        assert time.monotonic() < end, len(kept)
        time.sleep(0.05)  # the kernel is late to take one away
print(len(kept))
"""


def holding(system: System, how: str, **request: object) -> "subprocess.Popen[str]":
    """Somebody who keeps what was asked for."""
    holder = client(system, request, how)
    assert holder.stdout is not None
    assert "granted" in holder.stdout.readline()
    return holder


def end(*holders: "subprocess.Popen[str]") -> None:
    for one in holders:
        one.kill()
        one.communicate()


@pytest.mark.parametrize("how", ["keep", "send", "hold"])
def test_one_user_keeps_so_many_unions_and_no_more(system: System, how: str) -> None:
    with serving(system, "--unions_of_one_uid=2", program=UNVERIFIED):
        holders = [holding(system, how, **UNION) for _ in range(2)]
        assert refusal(system, **UNION) == "helper-unions-kept"
        # One package is no union, and another user keeps nothing yet.
        assert asked(system, with_=["tool"])["files"]
        tree, _ = asking.ask(str(system.socket), Request(with_=("lib", "tool")))
        os.close(tree)
        end(holders[0])
        wait_for(lambda: "files" in asked(system, **UNION))
        end(holders[1])


def test_the_server_stays_while_a_union_is_kept(system: System) -> None:
    with serving(system, "--idle_seconds=1", program=UNVERIFIED) as server:
        single = holding(system, "keep", with_=["tool"])
        union = holding(system, "keep", **UNION)
        time.sleep(4)
        assert server.poll() is None
        end(union)
        assert server.wait(30) == 0
        end(single)


def test_a_request_that_is_over_counts_for_nobody(system: System) -> None:
    with serving(system, "--unions_of_one_uid=1", program=UNVERIFIED) as server:
        (system.store.packages / system.packages["tool"].file_name).rename(system.top / "aside")
        for _ in range(3):
            assert refusal(system, **UNION) == "file-missing"
        (system.top / "aside").rename(system.store.packages / system.packages["tool"].file_name)
        for _ in range(3):
            wait_for(lambda: not helping.children(server.pid))
            assert "files" in asked(system, **UNION)


def test_a_tree_that_is_kept_takes_none_of_roots_user_namespaces(tmp_path: Path) -> None:
    said = subprocess.run([sys.executable, "-c", LOCK, tmp_path], cwd=helping.TOP, check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert said.stdout == "10\n", said.stderr
