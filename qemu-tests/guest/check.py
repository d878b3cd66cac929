"""Runs inside the booted machine and says what it found, as one line of JSON."""

import base64
import json
import os
import stat
import subprocess
from pathlib import Path


def words(*argv: str) -> str:
    """What a program says, errors included."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode(errors="replace").strip()


def ssh_to_localhost() -> str:
    """What a command says that is run over ssh, as root, on this machine."""
    key = Path("/root/.ssh/id_ed25519")
    key.parent.mkdir(mode=0o700, exist_ok=True)
    words("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    (key.parent / "authorized_keys").write_bytes(key.with_suffix(".pub").read_bytes())
    return words("ssh", "-q", "-o", "StrictHostKeyChecking=no", "root@localhost", "echo over ssh")


def main() -> None:
    report = json.loads(Path("/run/bootunion/boot.json").read_text())
    name, generation = report["list"]["name"], report["list"]["generation"]
    envelope = json.loads(Path(f"/pkgs/lists/{name}/{generation}.json").read_text())
    listed = json.loads(base64.b64decode(envelope["payload"]))["layers"]
    state = words("systemctl", "is-system-running", "--wait")
    tables = [line.split() for line in words("dmsetup", "table", "--target", "verity").splitlines()]
    installed = dict(
        line.split(" ", 1) for line in
        words("dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\\n").splitlines()
    )  # fmt: skip
    debs = [
        layer["name"]
        for layer in listed
        if layer["name"] not in ("bootunion", "demo-config", f"{name}-generated")
    ]
    sudo = os.stat("/usr/bin/sudo")
    found = {
        "root": words("findmnt", "-n", "-o", "FSTYPE", "/"),
        "layers_visible": sum("squashfs" in line for line in open("/proc/self/mountinfo")),
        "packages": len(listed),
        "verity": len(tables),
        # Fields of a verity line behind "name: start length verity": version, two devices, two
        # block sizes, data blocks, hash start, algorithm, root hash.
        "verity_is_the_list": sorted(t[12] for t in tables)
        == sorted(layer["root_hash"] for layer in listed),
        "all_mapped_devices": len(words("dmsetup", "ls").splitlines()),
        "state": state,
        "failed": words("systemctl", "--failed", "--no-legend", "--plain"),
        "multi_user": words("systemctl", "is-active", "multi-user.target"),
        "audit": words("dpkg", "--audit"),
        "not_installed": [one for one in debs if installed.get(one, "").strip() != "ii"],
        "dpkg_verify": words("dpkg", "--verify"),
        "sudo": [stat.S_IMODE(sudo.st_mode), sudo.st_uid],
        "ping": os.getxattr("/usr/bin/ping", "security.capability").hex(),
        "ssh": ssh_to_localhost(),
        "machine_id": len(Path("/etc/machine-id").read_text().strip()),
        "hello_before": Path("/usr/bin/hello-bootunion").exists(),
        "apt": words("apt-get", "-y", "-q", "install", "/pkgs/tests/hello.deb")[-300:],
        "hello_after": words("/usr/bin/hello-bootunion")
        if Path("/usr/bin/hello-bootunion").exists() else "",
        "store_lacks": sorted({"nosuid", "nodev", "noexec"}
                        - set(words("findmnt", "-n", "-o", "VFS-OPTIONS", "/pkgs").split(","))),
        "good": json.loads(Path(f"/pkgs/state/{name}.json").read_text())["good"] == generation,
        "kept_report": len(os.listdir("/pkgs/reports")),
        "agent_ms": (report["finished"] - report["started"]) // 1_000_000,
        "layers_by": report["overlay_layers_by"],
        "layers_named": report["layers"] == [layer["name"] for layer in listed],
        "boot_report": words("bootunion", "boot-report").splitlines()[-1],
        "kmsg": words("sh", "-c", "dmesg | grep -c bootunion:"),
        "slab_kib": next(int(line.split()[1]) for line in open("/proc/meminfo")
                         if line.startswith("Slab:")),
    }  # fmt: skip
    print("BOOTUNION-" + "CHECK " + json.dumps(found))
    print("BOOTUNION-" + "REPORT " + json.dumps(report))


main()
