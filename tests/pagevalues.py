"""Values in the shape of `plan --json` for the page's tests: wrong, large and hostile ones.

tests/test_pages.py holds them against docs/plan.schema.json, so that they cannot drift from it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

KINDS = ("whiteout", "opaque", "directory-over-symlink", "type", "privilege", "content",
         "metadata", "same")  # fmt: skip

Value = dict[str, Any]


def layer(position: int, name: str, size: int, **more: Any) -> Value:
    digest = f"{random.Random(repr(name)).getrandbits(256):064x}"
    return {
        "position": position, "name": name, "version": "1.0-1", "architecture": "amd64",
        "size": size, "files": 12, "paths": 20, "wins": 15, "loses": 0, "need": "required",
        "root_hash": digest, "generated": False, "verified": True, "present": True, "problem": "",
        "source": {"kind": "deb", "file": f"{name}_1.0-1_amd64.deb", "sha256": digest}, **more,
    }  # fmt: skip


def contested(path: str, winner: Value, loser: Value, kind: str, severity: str) -> Value:
    return {
        "path": path, "winner": winner["name"], "winner_position": winner["position"],
        "loser": loser["name"], "loser_position": loser["position"], "kind": kind,
        "severity": severity, "approved": severity == "info" and kind != "same",
    }  # fmt: skip


def finding(severity: str, code: str, path: str, package: str, text: str, way_out: str) -> Value:
    return {"severity": severity, "code": code, "path": path, "package": package, "text": text,
            "way_out": way_out}  # fmt: skip


def plan(layers: Sequence[Value], contests: Sequence[Value], **more: Any) -> Value:
    """A whole plan of these layers and contested paths."""
    pairs: dict[tuple[int, int], Counter[str]] = {}
    for one in contests:
        pair = one["winner_position"], one["loser_position"]
        pairs.setdefault(pair, Counter())[one["kind"]] += 1
    count, size = len(layers), sum(one["size"] for one in layers)
    return {
        "schema": 1,
        "list": {
            "name": "demo", "generation": 7, "floor": 3, "created": 1795517760, "expires": 0,
            "architecture": "amd64", "kernel": "6.1.0-56-amd64", "upper": "volatile",
            "namespace": "5b" * 32, "signers": ["27e75a53" * 8], "source": "store",
        },
        "boots": True, "layers": list(layers), "contested": list(contests),
        "pairs": [
            {"winner_position": a, "loser_position": b, "winner": layers[a]["name"],
             "loser": layers[b]["name"], "kinds": dict(kinds)}
            for (a, b), kinds in sorted(pairs.items())
        ],
        "findings": [], "refusals": [], "denied": [],
        "cost": {
            "layers": count, "loop_devices": count, "verity_devices": count,
            "kernel_memory_bytes": count * 840 << 10, "disk_bytes": size, "missing_packages": 0,
            "download_bytes": 0, "estimated_ms": 55 * count,
        },
        "union": {"paths": 15 * count, "types": {"file": 12 * count, "directory": 3 * count},
                  "digest": "5b" * 32, "matches_list": True, "strategy": "layers",
            "why": "", "index": None, "by_file": 0},
        "diff": None, **more,
    }  # fmt: skip


DIFF: Value = {
    "from": {"name": "demo", "generation": 6}, "to": {"name": "demo", "generation": 7},
    "added": [{"name": "acme-tool", "version": "2.1"}], "removed": [],
    "upgraded": [{"name": "libssl3", "from": "3.0.15-1", "to": "3.0.17-1"}],
    "downgraded": [{"name": "zstd", "from": "1.5.5", "to": "1.5.4"}],
    "changed": [{"name": "demo-generated", "version": "1.0-1"}],
    "reordered": [{"name": "bash", "from_position": 6, "to_position": 4}],
    "paths": {
        "added": ["/usr/bin/acme", "/usr/lib/acme/plugin.so"], "removed": ["/usr/bin/old"],
        "changed": [{"path": "/usr/lib/x86_64-linux-gnu/libssl.so.3", "what": ["content"]},
                    {"path": "/usr/bin/acme-helper", "what": ["mode", "owner"]}],
    },
    "privileges": [{"path": "/usr/bin/acme-helper", "from": "", "to": "setuid root"}],
    "bytes_to_fetch": 8_400_000,
}  # fmt: skip


def broken() -> Value:
    """Ten layers that do not boot, with everything that a page can show."""
    names = (("demo-generated", 12 << 20), ("acme-tool", 3 << 20), ("demo-config", 8192),
             ("base-files", 118_784), ("bash", 2_700_000), ("coreutils", 7_036_928),
             ("libc6", 5_795_840), ("libssl3", 2_500_000), ("linux-image", 106_520_576),
             ("zstd", 900_000))  # fmt: skip
    layers = [layer(position, name, size, paths=200 + 31 * position, wins=190 + 29 * position,
                    loses=4 * position) for position, (name, size) in enumerate(names)]  # fmt: skip
    layers[0] |= {
        "generated": True,
        "source": {"kind": "generated", "file": "", "sha256": "0" * 64},
    }
    layers[7] |= {"need": "optional"}
    layers[9] |= {"verified": False, "present": False,
                  "problem": "file-missing: the image is not in the store"}  # fmt: skip
    contests = [
        contested("/lib", layers[1], layers[3], "directory-over-symlink", "fatal"),
        contested("/usr/share/doc/bash", layers[1], layers[4], "whiteout", "fatal"),
        contested("/usr/bin/ls", layers[1], layers[5], "content", "warning"),
        contested("/usr/bin/mount", layers[1], layers[5], "privilege", "warning"),
        contested("/etc/os-release", layers[0], layers[3], "type", "info"),
        contested("/etc/ld.so.conf", layers[0], layers[6], "metadata", "info"),
        contested("/usr/share/common-licenses/GPL", layers[3], layers[5], "same", "info"),
    ]
    findings = [
        finding("fatal", "merged-usr", "/lib", "acme-tool",
                "acme-tool has a real directory at /lib, which hides the symlink of base-files.",
                "Import acme-tool's .deb with bootunion: it moves such paths below /usr."),
        finding("fatal", "library-missing", "/usr/bin/acme", "acme-tool",
                "acme-tool's /usr/bin/acme needs libacme.so.2, which no layer has.",
                "Add the package that has libacme.so.2 to system.yaml."),
        *(finding("warning", "shadowed", f"/usr/bin/{name}", "acme-tool",
                  f"acme-tool hides coreutils' /usr/bin/{name} with other content.",
                  "Approve it in system.yaml, or move acme-tool below coreutils.")
          for name in ("ls", "mount")),
        finding("info", "dangling-symlink", "/usr/share/acme/current", "acme-tool",
                "acme-tool's link /usr/share/acme/current leads to /opt/acme, which no layer has.",
                "Nothing, if it is filled at run time."),
    ]  # fmt: skip
    refusal = {
        "code": "kernel-mismatch",
        "message": "is for 6.1.0-56-amd64, not 6.12.9",
        "subject": "list demo",
        "way_out": "Boot the kernel that the list names.",
    }
    return plan(layers, contests, boots=False, findings=findings, refusals=[refusal],
                denied=["whiteout"], diff=DIFF)  # fmt: skip


def large(layers: int = 500, paths: int = 20_000) -> Value:
    """A list as long as lists get, with many contested paths."""
    dice = random.Random(4)
    stack = [
        layer(at, f"package-{at:03}", int(20_000 * dice.paretovariate(0.7)) % 90_000_000,
              wins=int(20 * dice.paretovariate(0.8)) % 9_000, loses=dice.randrange(60))
        for at in range(layers)
    ]  # fmt: skip
    stack[0] |= {"generated": True, "name": "large-generated"}
    contests = []
    some = [sorted(dice.sample(range(layers), 2)) for _ in range(400)]
    for number in range(paths):
        winner, loser = dice.choice(some)
        kind = dice.choices(KINDS, (1, 1, 0, 2, 2, 30, 30, 34))[0]
        severity = "info" if kind == "same" else "fatal" if kind == "whiteout" else "warning"
        path = f"/usr/share/part-{number % 97:02}/name-{number:05}"
        contests.append(contested(path, stack[winner], stack[loser], kind, severity))
    return plan(stack, sorted(contests, key=lambda one: str(one["path"])))


ODD = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "' onmouseover='alert(3)",
    "</style><svg/onload=alert(4)>", "</title></textarea><!--", "]]>&lt;&#60;&amp;",
    "javascript:alert(5)", "{{7*7}}${7*7}", "odd \udcff\udc80 bytes", "line\nbreak\ttab\x1b[31m",
    "\u202egnp.exe\u2066", "zero\u200bwidth", "\x00nul\x7f", "\ud800 lone", "näme ✓ 名前",
    "--></script><script>alert(6)</script>", "a" * 300,
)  # fmt: skip


def hostile() -> Value:
    """Every string that a store can choose, chosen badly."""
    layers = [layer(at, odd, 4096 * (at + 1), version=odd, need="optional", problem=odd,
                    root_hash=odd, source={"kind": odd, "file": odd, "sha256": odd})
              for at, odd in enumerate(ODD)]  # fmt: skip
    contests = [contested(f"/{odd}", layers[at], layers[-1], "content", "warning")
                for at, odd in enumerate(ODD[:-1])]  # fmt: skip
    contests.append(contested("/x", layers[0], layers[1], ODD[0], ODD[1]))
    both = [{"path": f"/{odd}", "from": odd, "to": odd} for odd in ODD]
    diff = {
        **DIFF, "added": [{"name": odd, "version": odd} for odd in ODD],
        "upgraded": [{"name": odd, "from": odd, "to": odd} for odd in ODD],
        "paths": {"added": [f"/{odd}" for odd in ODD], "removed": [],
                  "changed": [{"path": f"/{odd}", "what": [odd]} for odd in ODD]},
        "privileges": both, "from": {"name": ODD[0], "generation": 1},
    }  # fmt: skip
    made = plan(
        layers, contests, boots=False, diff=diff, denied=list(ODD),
        findings=[finding(level, odd, odd, odd, odd, odd)
                  for level in ("fatal", "warning", "info") for odd in ODD],
        refusals=[{"code": odd, "message": odd, "subject": odd, "way_out": odd} for odd in ODD],
    )  # fmt: skip
    for name in ("name", "architecture", "kernel", "upper", "namespace", "source"):
        made["list"][name] = ODD[1]
    made["list"]["signers"] = list(ODD)
    made["union"] |= {"digest": ODD[3], "types": dict.fromkeys(ODD, 3)}
    return made


def many_findings() -> Value:
    """A plan with more findings of one kind than are shown at once."""
    one = layer(0, "acme", 4096)
    findings = [
        finding("warning", "shadowed", f"/usr/bin/t{number}", "acme", "acme hides a tool.", "Look.")
        for number in range(40)
    ]  # fmt: skip
    return plan([one], [contested("/a", one, one, "same", "info")], findings=findings)


def report() -> Value:
    """A boot report as the agent writes it: one generation passed over, the next one assembled."""
    clock = 20_796_211_160
    steps: list[Value] = []

    def add(name: str, layer: int | None, took: int) -> None:
        nonlocal clock
        steps.append({"name": name, "layer": layer, "start": clock + 90_000, "end": clock + took})
        clock += took

    for attempt in range(2):
        for number, name in enumerate(("read-list", "verify-list", "prepare-workspace")):
            add(name, None, 12_000_000 + 7_000_000 * number)
        for position in range(3 if attempt else 2):
            for number, name in enumerate(("attach-loop", "create-verity", "mount-image")):
                add(name, position, 4_000_000 + 9_000_000 * number)
    add("mount-overlay", None, 40_000_000)
    error = {"code": "file-changed", "message": "has 4096 bytes, the list says 8192",
             "subject": "bash_5_amd64", "way_out": "Fetch it again."}  # fmt: skip
    return {
        "schema": 3, "bootunion": "0.1.0", "kernel": "6.1.0-56-amd64", "python": "3.11.2",
        "started": 20_796_211_160, "finished": clock + 5_000_000, "number": 12,
        "result": "assembled",
        "list": {"name": "demo", "generation": 6, "floor": 3, "created": 0, "why": "good"},
        "packages": 3, "layers": ["demo-generated", "bash", "libc6"], "overlay_layers_by": "path",
        "left_out": ["vim_9_amd64"], "refused": [{"generation": 7, "why": "current", **error}],
        "warnings": [error], "steps": steps,
    }  # fmt: skip
