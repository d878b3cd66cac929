"""Whole boots of the demo's Debian, and the agent against a damaged store on a real kernel."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import machine
import pytest
import scenario
from scenario import Debian

from bootunion import dsse, systemlist
from bootunion.host.signing import Signer
from bootunion.host.store import Store

pytestmark = pytest.mark.qemu
ON_TOP = {"container": True, "extension": "extended", "extension image": "extended"}


@pytest.mark.parametrize("flavour", scenario.FLAVOURS)
def test_debian_boots_and_is_what_the_list_says(debian: Debian, flavour: str) -> None:
    # The second boot also shows that what the first one installed is gone.
    log = scenario.BUILD / f"{flavour}.console"
    with machine.boot(
        debian.kernel, debian.initrd(flavour), scenario.CMDLINE, debian.disk, log
    ) as running:
        running.login()
        found = scenario.check(running)
        # Reading every byte twice would only be slower.
        depth = [] if flavour == "systemd" else ["--metadata-only"]
        found["looks"] = scenario.looks(running, "green", *depth)
        found["on_top"] = scenario.on_top(running) if flavour == "systemd" else ON_TOP
        running.succeed()
    (scenario.BUILD / f"{flavour}.check.json").write_text(json.dumps(found, indent=1))
    assert scenario.shortfalls(found) == {}
    assert scenario.root_shortfalls(found["looks"]) == {}
    assert found["on_top"] == ON_TOP


def test_a_change_underneath_the_running_root_is_named(debian: Debian) -> None:
    log = scenario.BUILD / "underneath.console"
    with machine.boot(
        debian.kernel, debian.initrd("systemd"), scenario.CMDLINE, debian.disk, log
    ) as running:
        running.login()
        found = scenario.looks(running, "red")
        running.succeed()
    (scenario.BUILD / "underneath.json").write_text(json.dumps(found, indent=1))
    assert found.pop("linear") != "taken"
    for name, code, subject in (("another-table", "device-mismatch", "less_"),
                                ("no-upper", "upper-missing", scenario.UPPER)):  # fmt: skip
        assert f"[{code}]" in found[name]["error"] and subject in found[name]["error"]
    assert [found[name]["status"] for name in found] == [4, 1, 4, 4, 4]
    # The image that was replaced in the store is not what the root is made of; doctor finds it.
    covered = found["covered"]["said"]
    assert [(one["path"], one["what"], one["package"]) for one in covered["differences"]] == [
        ("/usr/bin/curl", "covered", "curl")
    ]
    assert covered["error"]["code"] == "root-differs"
    assert "zstd_" in found["doctor"]["text"] and "file-changed" in found["doctor"]["text"]
    flipped = found["flipped"]["said"]
    named = {(one["path"], one["what"], one["package"]) for one in flipped["differences"]}
    assert ("/usr/bin/curl", "unreadable", "curl") in named
    assert {package for _, _, package in named} <= {"curl", ""}
    assert flipped["error"]["subject"] == "/usr/bin/curl"
    assert "corrupted" in {what for _, what, _ in named}


def damaged_disk(debian: Debian, tmp_path: Path, what: str) -> Path:
    store = tmp_path / "store"
    shutil.copytree(debian.store, store, copy_function=os.link)
    path = store / "lists/demo/1.json"
    if what == "data":
        path = next((store / "packages").glob("curl_*.squashfs"))
    good = path.read_bytes()
    path.unlink()  # a hard link to the cache's file: never write through it
    if what == "list":
        path.write_bytes(good.replace(b'"payload":"eyJ', b'"payload":"eyI'))
    elif what == "signature":
        envelope = json.loads(good)
        text = envelope["signatures"][0]["sig"]
        envelope["signatures"][0]["sig"] = ("B" if text[0] == "A" else "A") + text[1:]
        path.write_text(json.dumps(envelope))
    elif what == "key":
        path.write_bytes(good)
        keys = tmp_path / "keys"
        scenario.bootunion("keygen", keys)
        envelope = json.loads(good) | {"signatures": []}
        path.write_text(json.dumps(envelope))
        scenario.bootunion("sign", path, "--key", keys / "list.key")
    else:
        path.write_bytes(good)
        scenario.flip(path, 4096 * 3 + 11)
    return machine.store_disk(store, tmp_path / "disk.img")


@pytest.mark.parametrize(
    "what, code",
    [("list", "signature-invalid"), ("signature", "signature-invalid"),
     ("key", "signature-untrusted")],
)  # fmt: skip
def test_a_list_that_was_tampered_with_is_refused(
    debian: Debian, tmp_path: Path, what: str, code: str
) -> None:
    disk = damaged_disk(debian, tmp_path, what)
    log = scenario.BUILD / f"tampered-{what}.console"
    cmdline = f"{scenario.CMDLINE} bootunion.on-failure=poweroff"
    flavour = "plain" if what == "signature" else "systemd"
    with machine.boot(debian.kernel, debian.initrd(flavour), cmdline, disk, log) as running:
        running.wait_for(rf"REFUSED \[{code}\] ", 240)
        running.end(120)
        said = running.console
    for marker in ("login:", "Switching root", "multi-user.target"):
        assert marker not in said


def test_a_flipped_bit_is_an_io_error_and_never_wrong_bytes(debian: Debian, tmp_path: Path) -> None:
    disk = damaged_disk(debian, tmp_path, "data")
    log = scenario.BUILD / "flipped.console"
    with machine.boot(
        debian.kernel, debian.initrd("systemd"), scenario.CMDLINE, disk, log
    ) as running:
        running.login()
        copy = "cat /usr/bin/curl > /tmp/part 2> /dev/null; stat -c SIZE=%s= /tmp/part"
        _, said = running.run(f"{copy}; sha256sum < /tmp/part", 60)
        _, log_lines = running.run("dmesg | grep 'is corrupted'", 60)
        cat_status, error = running.run("cat /usr/bin/curl > /dev/null", 60)
        running.succeed()
    good = subprocess.run(
        ["unsquashfs", "-cat", next((debian.store / "packages").glob("curl_*.squashfs")),
         "usr/bin/curl"], capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert len(good) > 10_000
    # What could be read before the bad block is right, and it is not the whole file.
    size = int(said.partition("SIZE=")[2].partition("=")[0])
    assert size < len(good)
    assert hashlib.sha256(good[:size]).hexdigest() in said
    assert "data block" in log_lines
    assert cat_status != 0 and "Input/output error" in error


def test_a_generation_whose_unit_does_not_come_up_is_not_marked_good(
    debian: Debian, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(debian.store, store, copy_function=os.link)
    envelope = dsse.decode((store / "lists/demo/1.json").read_bytes(), subject="x")
    system = systemlist.decode(envelope.payload, subject="x")
    system = system._replace(generation=2, good_when=("multi-user.target", "no-such.service"))
    signer = Signer(debian.directory / "keys/list.key")
    Store(store).add_list("demo", 2, signer(system.encode(), systemlist.PAYLOAD_TYPE))
    disk = machine.store_disk(store, tmp_path / "disk.img")
    log = scenario.BUILD / "not-good.console"
    with machine.boot(
        debian.kernel, debian.initrd("systemd"), scenario.CMDLINE, disk, log
    ) as running:
        running.login()
        _, state = running.run("systemctl is-system-running --wait; cat /pkgs/state/demo.json", 240)
        _, unit = running.run("systemctl is-active bootunion-good.service", 60)
        running.succeed()
    assert '"good":0' in state and '"tries":[[2,1]]' in state
    assert "failed" in unit and "degraded" in state
