"""`make demo`: compose a Debian, show its plan, boot it, and say what was proven."""

from __future__ import annotations

import os
import sys

import machine
import scenario


def main() -> int:
    """Everything that the README promises; 0 only when each proof held."""
    debian = scenario.make()
    scenario.bootunion("plan", "demo", "--store", debian.store, "--trust", debian.trust)
    how = machine.accelerator(debian.kernel)
    print(f"\nbooting in QEMU under {how.upper()}; a minute or two under TCG\n", flush=True)
    log = scenario.BUILD / "demo.console"
    with machine.boot(
        debian.kernel, debian.initrd("systemd"), scenario.CMDLINE, debian.disk, log, show=True
    ) as running:
        try:
            if os.environ.get("INTERACTIVE"):
                running.interact()
                return 0
            running.login()
            found = scenario.check(running)
            print("\nbootunion check-root reads every file; minutes under TCG\n", flush=True)
            looks = scenario.looks(running, "green")
            running.succeed()
        except machine.MachineError as error:
            print(f"DEMO FAILED: {error}", file=sys.stderr)
            return 1
    wrong = scenario.shortfalls(found) | scenario.root_shortfalls(looks)
    for name, value in wrong.items():
        print(f"DEMO FAILED: {name}: {value!r}", file=sys.stderr)
    if wrong:
        return 1
    root = looks["root"]["said"]
    print(f"""

the root is an overlay of {found["packages"]} packages, none visible in the mount table
each is one dm-verity device, and their root hashes are exactly the signed list's
dpkg knows every package as installed, and finds no file that differs from its package
sudo is setuid, ping has its capability, ssh to localhost works
check-root read {root["bytes"] >> 20} MiB in {root["paths"]} paths and proved the list's digest
a local .deb was installed into the volatile upper; the agent took {found["agent_ms"]} ms
DEMO OK: packages={found["packages"]} verity={found["verity"]} failed-units=0 \
state={found["state"]}""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
