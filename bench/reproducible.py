"""Composes a system twice under other circumstances and compares: issue 2, point 4.

    sudo .venv/bin/python bench/reproducible.py [SYSTEM_YAML] [--cache DIR] [--work DIR]

The two differ in directory, clock (libfaketime around the whole process, and inside the root for
the maintainer scripts), umask, limits, jobs, TMPDIR, HOME, LANG and TZ. Ends with 0 when each
package's root hash, the generated layer's and every byte of the signed list are equal.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bootunion.host import apt, composing, configure, reading, signing, systemyaml
from bootunion.host.sandbox import Sandbox
from bootunion.host.signing import Signer
from bootunion.host.store import Store

TOP = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("BOOTUNION_CACHE", TOP / "build/cache"))
_INSIDE = "/run/libfaketime.so"
_CREATED = "1750000000"


class Circumstances(NamedTuple):
    """What differs. `clock` is libfaketime's offset, "" for the true time."""

    name: str
    clock: str
    umask: int
    jobs: int
    files: int
    environment: dict[str, str]


BOTH = (
    Circumstances("one", "", 0o022, 2, 1024, {"LANG": "C.UTF-8", "TZ": "UTC"}),
    Circumstances(
        "the other/place", "+400d", 0o077, 3, 700, {"LANG": "de_DE.UTF-8", "TZ": "Asia/Tokyo"}
    ),
)


def libfaketime() -> Path:
    """Debian's libfaketime (package faketime, or libfaketime)."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


def compose_once(yaml: Path, keys: Path, work: Path, cache: Path, jobs: int) -> None:
    """In the child: compose into `work`/store, scripts under the clock of this process."""
    system = systemyaml.read(yaml)
    sources = system.sources or apt.host_sources(system.suites)
    # Under another clock an index may be out of date.
    stanzas = (f"{one.strip()}\ncheck-valid-until: no\n" for one in sources.split("\n\n"))

    def sandbox(root: Path) -> Sandbox:
        box = configure.sandbox(root)
        if "FAKETIME" not in os.environ:
            return box
        clock = {"LD_PRELOAD": _INSIDE, "FAKETIME": os.environ["FAKETIME"]}
        return box._replace(
            environment={**box.environment, **clock}, binds={str(libfaketime()): _INSIDE}
        )

    shop = composing.Workshop(
        Store(work / "store"), cache, Signer(keys / "package.key"), Signer(keys / "list.key"),
        signing.read_trust(keys / "trust"), jobs, sandbox,
    )  # fmt: skip
    progress = configure.Progress(
        lambda what, total: print(what, total, flush=True), lambda _: None
    )
    begun = time.monotonic()
    composing.compose(system._replace(sources="\n".join(stanzas)), shop, progress)
    print(f"{time.monotonic() - begun:.1f} s; the clock says {time.ctime()}")


def start(how: Circumstances, yaml: Path, keys: Path, top: Path, cache: Path) -> Path:
    """Compose under `how`; gives the store."""
    work = top / how.name
    for name in ("tmp", "home"):
        (work / name).mkdir(parents=True)
    env = {**os.environ, **how.environment, "TMPDIR": str(work / "tmp"),
           "HOME": str(work / "home"), "SOURCE_DATE_EPOCH": _CREATED}  # fmt: skip
    if how.clock:
        env |= {"LD_PRELOAD": str(libfaketime()), "FAKETIME": how.clock}
        env |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    words = [yaml, keys, work, cache, how.jobs]

    def before() -> None:
        os.umask(how.umask)
        resource.setrlimit(resource.RLIMIT_NOFILE, (how.files, 4096))

    argv = [sys.executable, str(Path(__file__).resolve()), "--once", *map(str, words)]
    subprocess.run(argv, env=env, cwd=work, preexec_fn=before, check=True)
    return work / "store"


def differences(stores: list[Path], trust: Path, name: str) -> list[str]:
    """What is not the same in two stores; empty when nothing is."""
    trusted = signing.read_trust(trust)
    lists = [reading.read_list(Store(store), trusted, name, 0)[0] for store in stores]
    wrong = [
        f"{one.stem} {other.stem}"
        for one, other in zip(lists[0].layers, lists[1].layers, strict=True) if one != other
    ]  # fmt: skip
    if wrong:
        tops = [
            {e.path: e for e in Store(store).entries(
                reading.read_manifest(Store(store), trusted, found.layers[0]))}
            for store, found in zip(stores, lists, strict=True)
        ]  # fmt: skip
        paths = sorted(tops[0].keys() | tops[1].keys())
        wrong += [f"/{p}: {tops[0].get(p)} {tops[1].get(p)}" for p in paths
                  if tops[0].get(p) != tops[1].get(p)]  # fmt: skip
    generation = f"lists/{name}/{lists[0].generation}.json"
    if len({(store / generation).read_bytes() for store in stores}) != 1:
        wrong.append("the signed lists' bytes")
    return wrong


def compare(yaml: Path, top: Path, cache: Path) -> list[str]:
    """Compose `yaml` twice below `top`, with keys of its own; gives the differences."""
    signing.generate(top / "keys")
    stores = [start(how, yaml, top / "keys", top, cache) for how in BOTH]
    return differences(stores, top / "keys/trust", systemyaml.read(yaml).name)


def main() -> int:
    if sys.argv[1:2] == ["--once"]:
        yaml, keys, work, cache, jobs = sys.argv[2:]
        compose_once(Path(yaml), Path(keys), Path(work), Path(cache), int(jobs))
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("yaml", nargs="?", type=Path, default=TOP / "demo/system.yaml")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--work", type=Path, default=TOP / "build", help="for both stores")
    words = parser.parse_args()
    words.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=words.work) as directory:
        top = Path(directory).resolve()
        wrong = compare(words.yaml.resolve(), top, words.cache.resolve())
        images = list((top / BOTH[0].name / "store/packages").glob("*.squashfs"))
        print(json.dumps({"packages": len(images), "differences": wrong}, indent=2))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
