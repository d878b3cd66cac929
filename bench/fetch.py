"""Fetching from a web server on this machine, side by side with `curl --parallel` and `sha256sum`.

    .venv/bin/python bench/fetch.py STORE TRUST LIST [RUNS]

STORE is a store with a list of many packages (the demo's, or one of 300), TRUST its trust store.
Needs curl and nginx. Both sides get the same files of the same server into a directory on the same
file system, in turns; bootunion checks signatures and every block, the other side one SHA-256 for
each file. Prints a line for each run and the ratio of the best ones.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BOOTUNION = Path(sys.executable).with_name("bootunion")


@contextlib.contextmanager
def nginx(tree: Path, work: Path) -> Iterator[str]:
    """A server of `tree`; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    conf = work / "nginx.conf"
    conf.write_text(
        f"daemon off; pid {work}/pid; error_log {work}/error; worker_processes 2;\n"
        "events {}\nhttp { access_log off; sendfile on; keepalive_requests 100000;\n"
        f"server {{ listen 127.0.0.1:{port}; root {tree}; }} }}\n"
    )
    child = subprocess.Popen(["nginx", "-e", f"{work}/error", "-c", conf])
    try:
        time.sleep(1)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait()


def ours(url: str, target: Path, trust: Path, name: str) -> float:
    start = time.monotonic()
    subprocess.run(
        [BOOTUNION, "fetch", name, "--source", url, "--store", target, "--trust", trust],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"no_proxy": "*"},
    )  # fmt: skip
    return time.monotonic() - start


def curl(url: str, target: Path, files: list[str]) -> float:
    """Download, then check against digests that are known: what a careful script does."""
    target.mkdir()
    config = target.parent / "curl.conf"
    config.write_text("".join(f'url = "{url}/packages/{one.replace("%", "%25")}"\noutput = '
                              f'"{target}/{one}"\n' for one in files))  # fmt: skip
    start = time.monotonic()
    subprocess.run(
        ["curl", "-sS", "--no-progress-meter", "-f", "--noproxy", "*", "--parallel", "-K", config],
        check=True,
    )
    subprocess.run("find . -type f -print0 | xargs -0 -P 2 -n 16 sha256sum > ../sums", shell=True,
                   cwd=target, check=True)  # fmt: skip
    return time.monotonic() - start


def main(store: Path, trust: Path, name: str, runs: int = 3) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as top:
        work = Path(top)
        work.chmod(0o755)
        tree = work / "tree"
        where = ["--store", store, "--trust", trust]
        subprocess.run([BOOTUNION, "publish", tree, name, *where], check=True,
                       stderr=subprocess.DEVNULL)  # fmt: skip
        files = sorted(path.name for path in (tree / "packages").iterdir())
        size = sum((tree / "packages" / one).stat().st_size for one in files)
        print(f"{len(files) // 3} packages, {size / 2**20:.1f} MiB in {len(files)} files, "
              f"load {os.getloadavg()[0]:.1f}")  # fmt: skip
        best = {"bootunion fetch": 1e9, "curl + sha256sum": 1e9}
        with nginx(tree, work) as url:
            for _ in range(runs):
                for side in tuple(best):
                    target = work / "target"
                    spent = (ours(url, target, trust, name) if side.startswith("boot")
                             else curl(url, target, files))  # fmt: skip
                    shutil.rmtree(target)
                    best[side] = min(best[side], spent)
                    print(f"{side:18} {spent:6.2f} s {size / 2**20 / spent:7.1f} MiB/s", flush=True)
        ratio = best["curl + sha256sum"] / best["bootunion fetch"]
        print(f"rate of bootunion fetch: {ratio:.2f} times curl --parallel + sha256sum")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int((sys.argv[4:] or ["3"])[0]))
