"""Fetching through the real command line, from servers that do everything wrong."""

import contextlib
import hashlib
import http.server
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from composing import BOOTUNION, Said, needs_root, run
from hypothesis import given
from hypothesis import strategies as st
from test_plan_command import Desk

from bootunion import manifest, verity
from bootunion.host import packaging
from bootunion.host.fetch import transfer
from bootunion.package import Image


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves a tree with ranges; `spoil` may answer in its place or change the bytes."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        file = self.server.tree / self.path.lstrip("/").replace("%2B", "+").replace("%25", "%")
        if self.server.spoil(self, file):
            self.close_connection = True
            return
        if not file.is_file():
            self.send_error(404)
            return
        self.give(file.read_bytes())

    def give(self, data: bytes, *, most: int = 1 << 62, claim: int = 0) -> None:
        """Answer with `data`; stop after `most` bytes; `claim` bytes more than there are."""
        start, end = 0, len(data)
        found = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found and self.server.ranges:
            start, end = int(found[1]), int(found[2] or len(data) - 1) + 1
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data) + claim}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(end - start + claim))
        self.end_headers()
        self.wfile.write(data[start:end][:most])
        if most < end - start or claim:
            self.wfile.flush()
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, tree: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tree, self.ranges = tree, True
        self.asked: list[str] = []
        self.spoil: Callable[[Handler, Path], bool] = lambda *_: False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        pass  # clients that are killed


class Shop:
    """A published list, a server of it, and an empty store to fetch into."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        blob = random.Random(1).randbytes(700_000)
        big = desk.top / "big-1"
        (big / "opt").mkdir(parents=True)
        (big / "opt/blob").write_bytes(blob)
        self.packages = [desk.base(), desk.tree("big", "1:2+x", big), desk.package("small", a="1")]
        desk.list(*self.packages)
        self.tree = desk.top / "published"
        where = ["--store", desk.store.path, "--trust", desk.keys / "trust"]
        done = run([*map(str, [BOOTUNION, "publish", self.tree, *where])])
        assert done.status == 0, done.err
        self.store = desk.top / "machine"
        self.server = Server(self.tree)

    @property
    def big(self) -> manifest.Manifest:
        return self.packages[1]

    def argv(self, *words: object) -> list[str]:
        where = ["--store", self.store, "--trust", self.desk.keys / "trust", "--timeout", "0.7"]
        sources = () if "--source" in words else ("--source", self.server.url)
        return [*map(str, [BOOTUNION, "fetch", "desk", *where, *sources, *words])]

    def fetch(self, *words: object) -> Said:
        return run(self.argv(*words), no_proxy="*")

    def complete(self) -> bool:
        """Whether each package of the store is there, right, and nothing else."""
        packages = self.store / "packages"
        names = {path.name for path in packages.iterdir()}
        expected = set()
        for one in self.packages:
            if f"{one.stem}.json" in names:
                packaging.check_image(packages / one.file_name, one.image, subject=one.stem)
                expected |= {f"{one.stem}.json", f"{one.stem}.contents", one.file_name}
        return names == expected

    def all_there(self) -> bool:
        stems = {path.stem for path in (self.store / "packages").glob("*.json")}
        return self.complete() and stems == {one.stem for one in self.packages}


@pytest.fixture
def shop(tmp_path: Path, keys: Path) -> Iterator[Shop]:
    made = Shop(Desk(tmp_path, keys))
    with contextlib.closing(made.server.socket):
        yield made
        made.server.shutdown()


def of_big(then: Callable[[Handler, bytes], Any]) -> Callable[[Handler, Path], bool]:
    """Spoil the big package's image only."""

    def spoil(handler: Handler, file: Path) -> bool:
        if not file.name.startswith("big_") or file.suffix != ".squashfs":
            return False
        return then(handler, file.read_bytes()) is not False

    return spoil


def test_a_list_is_fetched_once(shop: Shop) -> None:
    done = json.loads(shop.fetch("--json").out)
    assert (done["brought"], done["present"], done["generation"]) == (3, 0, 1)
    assert done["received_bytes"] >= sum(one.image.size for one in shop.packages)
    assert shop.all_there()
    planned = ["plan", "desk", "--store", shop.store, "--trust", shop.desk.keys / "trust"]
    assert run([str(BOOTUNION), *map(str, planned)]).status == 0
    shop.server.asked.clear()
    assert "3 were here" in shop.fetch().out
    assert not [path for path in shop.server.asked if "packages" in path]


@pytest.mark.parametrize("kind", ["directory", "file", "no-ranges", "slash"])
def test_every_kind_of_source(shop: Shop, kind: str) -> None:
    shop.server.ranges = kind != "no-ranges"
    source = {"directory": str(shop.tree), "file": f"file://{shop.tree}"}.get(kind)
    said = shop.fetch("--source", source or shop.server.url + "/")
    assert said.status == 0, said.err
    assert shop.all_there()


def test_the_next_source_is_asked_for_what_the_first_lacks(shop: Shop) -> None:
    part = shop.desk.top / "part"
    shutil.copytree(shop.tree, part)
    for file in (part / "packages").glob("big_*"):
        file.unlink()
    assert shop.fetch("--source", part, "--source", shop.server.url).status == 0
    assert shop.all_there()
    assert {path.split("_")[0] for path in shop.server.asked} == {"/packages/big"}


# What a server may do wrong with the big image, and whether a fetch gets it all the same.
def truncate(handler: Handler, data: bytes) -> None:
    handler.give(data, most=150_000)


def drop(handler: Handler, data: bytes) -> None:
    handler.give(data, most=100_000)


def stall(handler: Handler, data: bytes) -> Any:
    if len(handler.server.asked) % 2:
        return False
    handler.give(data, most=50_000)
    time.sleep(1.5)
    return None


class Recover:
    def __init__(self, status: int) -> None:
        self.left, self.status = 3, status

    def __call__(self, handler: Handler, _: bytes) -> Any:
        self.left -= 1
        if self.left < 0:
            return False
        handler.send_error(self.status)
        return None


@pytest.mark.parametrize(
    "spoil", [truncate, drop, stall, Recover(500), Recover(503), Recover(429)],
    ids=["truncates", "drops-every-100-kB", "stalls", "500", "503", "429"],
)  # fmt: skip
def test_a_server_that_fails_for_a_while_is_asked_again(shop: Shop, spoil: Any) -> None:
    shop.server.spoil = of_big(spoil)
    said = shop.fetch()
    assert said.status == 0, said.err
    assert shop.all_there()


def lie_about_length(handler: Handler, data: bytes) -> None:
    handler.give(data, claim=4096)


def cut_and_honest(handler: Handler, data: bytes) -> None:
    handler.give(data[: len(data) // 2 // 4096 * 4096])


def another_package(handler: Handler, data: bytes) -> None:
    small = next((handler.server.tree / "packages").glob("small_*.squashfs"))
    handler.give(small.read_bytes().ljust(len(data), b"\0"))


def a_bit(handler: Handler, data: bytes) -> None:
    changed = bytearray(data)
    changed[123_456] ^= 4
    handler.give(bytes(changed))


def a_bit_in_the_tree(handler: Handler, data: bytes) -> None:
    handler.give(data[:-5000] + bytes([data[-5000] ^ 1]) + data[-4999:])


def circle(handler: Handler, _: bytes) -> None:
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.send_header("Content-Length", "0")
    handler.send_header("Connection", "close")
    handler.end_headers()


def packed(handler: Handler, data: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def wrong_range(handler: Handler, data: bytes) -> None:
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes 0-9/{len(data)}")
    handler.send_header("Content-Length", "10")
    handler.end_headers()
    handler.wfile.write(data[:10])


def forbidden(handler: Handler, _: bytes) -> None:
    handler.send_error(403)


WRONG = {
    lie_about_length: "the list says", cut_and_honest: "the list says",
    another_package: "another hash tree", a_bit: "another block 30",
    a_bit_in_the_tree: "another hash tree", circle: "redirects in a circle",
    packed: "packed bytes", wrong_range: "another range", forbidden: "403",
}  # fmt: skip


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no-ranges"])
@pytest.mark.parametrize("spoil", WRONG, ids=lambda one: one.__name__)
def test_a_server_that_is_wrong_is_refused_and_the_next_one_asked(
    shop: Shop, spoil: Any, ranges: bool
) -> None:
    shop.server.ranges = ranges
    shop.server.spoil = of_big(spoil)
    sentence = shop.fetch().refused("source-failed", 1)
    assert shop.big.stem in sentence and WRONG[spoil] in sentence, sentence
    names = {path.name for path in (shop.store / "packages").iterdir()}
    # The others were brought; of the big one there is at most a part; the list is not there.
    assert {name.partition("_")[0] for name in names if name.endswith(".json")} == {
        "base", "small"
    }  # fmt: skip
    assert not list((shop.store / "lists").rglob("*.json"))
    said = shop.fetch("--source", shop.server.url, "--source", shop.tree)
    assert said.status == 0, said.err
    assert shop.all_there()


@pytest.mark.parametrize("suffix", [".json", ".contents"])
def test_a_manifest_or_contents_that_is_wrong_is_refused(shop: Shop, suffix: str) -> None:
    def spoil(handler: Handler, file: Path) -> bool:
        if not (file.name.startswith("small_") and file.suffix == suffix):
            return False
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        handler.give(bytes(data))
        return True

    shop.server.spoil = spoil
    assert "refused" in shop.fetch().refused("source-failed", 1)
    assert shop.fetch("--source", shop.server.url, "--source", shop.tree).status == 0
    assert shop.all_there()


def test_a_list_that_nobody_trusted_signed_is_not_taken(shop: Shop) -> None:
    file = shop.tree / "lists/desk/1.json"
    file.write_bytes(file.read_bytes().replace(b'"sig":"', b'"sig":"AAAA', 1))
    shop.fetch().refused("source-failed", 1)
    assert not list((shop.store / "packages").iterdir())


def test_nothing_listens_or_nothing_is_named(shop: Shop) -> None:
    shop.server.shutdown()
    shop.server.socket.close()
    assert "efused" in shop.fetch().refused("source-failed", 1)
    shop.fetch("--source", "ftp://x/y").refused("source-invalid", 3)
    shop.fetch("--source", shop.desk.top / "nowhere").refused("source-failed", 1)


def test_what_was_cut_off_goes_on_where_it_was(shop: Shop) -> None:
    sent = 0

    def once(handler: Handler, data: bytes) -> Any:
        nonlocal sent
        sent += 1
        if sent == 2:  # the first request is the hash tree's
            handler.give(data, most=400_000)
            return None
        if sent > 2:
            handler.send_error(404)
            return None
        return False

    shop.server.spoil = of_big(once)
    shop.fetch().refused("source-failed", 1)
    part = shop.store / "packages" / f".part-{shop.big.image.root_hash}"
    assert part.stat().st_size == shop.big.image.size
    starts = []

    def watch(handler: Handler, data: bytes) -> Any:
        starts.append(handler.headers["Range"])
        return False

    shop.server.spoil = of_big(watch)
    assert shop.fetch().status == 0
    assert starts == [f"bytes={400_000 // 4096 * 4096}-{shop.big.image.hash_offset - 1}"]
    assert shop.all_there()


def test_a_part_that_somebody_wrote_to_is_not_believed(shop: Shop) -> None:
    (shop.store / "packages").mkdir(parents=True)
    (shop.store / "lists").mkdir()
    part = shop.store / "packages" / f".part-{shop.big.image.root_hash}"
    image = (shop.tree / "packages" / shop.big.file_name).read_bytes()
    for wrong in (b"x" * 10, b"\0" * len(image), image + b"more", image[:-4096] + b"y" * 4096):
        part.write_bytes(wrong)
        assert shop.fetch().status == 0
        assert shop.all_there()
        (shop.store / "packages" / f"{shop.big.stem}.json").unlink()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_fetch_says_so_and_takes_nothing_half(shop: Shop, number: int) -> None:
    shop.server.spoil = of_big(lambda handler, data: (handler.give(data, most=1000), time.sleep(9)))
    child = subprocess.Popen(shop.argv("--timeout", "30"), stderr=subprocess.PIPE, text=True,
                             env=os.environ | {"no_proxy": "*"})  # fmt: skip
    while not any("big_" in path and "squashfs" in path for path in shop.server.asked):
        time.sleep(0.05)
    child.send_signal(number)
    assert child.wait(30) == 130
    assert child.stderr is not None
    assert child.stderr.read().splitlines()[-1].startswith("bootunion: interrupted")
    shop.server.spoil = lambda *_: False
    assert shop.fetch().status == 0
    assert shop.all_there()


def test_killed_at_random_moments_the_next_run_resumes(shop: Shop) -> None:
    def slow(handler: Handler, data: bytes) -> None:
        handler.give(data, most=60_000)
        time.sleep(0.02)

    shop.server.spoil = of_big(slow)
    pause = random.Random(7)
    for _ in range(20):
        child = subprocess.Popen(shop.argv(), stderr=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, env=os.environ | {"no_proxy": "*"},
                                 start_new_session=True)  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(pause.uniform(0.2, 1.6))
        child.kill()
        child.wait()
        for file in (shop.store / "packages").glob("*.json"):  # what is there is whole
            one = next(one for one in shop.packages if one.stem == file.stem)
            image = shop.store / "packages" / one.file_name
            packaging.check_image(image, one.image, subject=one.stem)
    shop.server.spoil = lambda *_: False
    assert shop.fetch().status == 0
    assert shop.all_there()


def test_two_fetches_at_once_do_not_disturb_each_other(shop: Shop) -> None:
    shop.server.spoil = of_big(drop)
    children = [subprocess.Popen(shop.argv(), env=os.environ | {"no_proxy": "*"})
                for _ in range(3)]  # fmt: skip
    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert shop.all_there()


@needs_root
def test_a_full_disk_is_one_sentence_and_leaves_no_part(shop: Shop) -> None:
    shop.store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", shop.store], check=True)
    try:
        said = shop.fetch()
        said.refused("disk-full", 1)
        assert not list((shop.store / "packages").glob(".part-*"))
    finally:
        subprocess.run(["umount", shop.store], check=True)


def test_publishing_again_adds_what_is_new(shop: Shop) -> None:
    desk = shop.desk
    more = desk.package("more", x="y")
    desk.list(*shop.packages, more, generation=2)
    where = ["--store", desk.store.path, "--trust", desk.keys / "trust", "--json"]
    done = json.loads(run([*map(str, [BOOTUNION, "publish", shop.tree, "desk", *where])]).out)
    assert done == {"lists": ["desk generation 2"], "copied": 1, "present": 3}
    assert (shop.tree / "lists/desk/current").read_text() == "2\n"
    assert (shop.tree / "lists/desk/1.json").exists()
    assert not list(shop.tree.rglob(".new-*"))


@given(st.integers(1, 40_000), st.binary(min_size=1, max_size=16))
def test_only_the_tree_of_the_root_hash_gives_leaves(blocks: int, seed: bytes) -> None:
    blocks = min(blocks, 20_000)
    digests = [hashlib.sha256(seed + bytes([number % 251])).digest() * 128 for number in range(251)]
    data = [digests[number % 251] for number in range(blocks)]
    salt = hashlib.sha256(seed).digest()
    tree = verity.build_tree(data, salt)
    image = Image("squashfs", verity.file_size(blocks), blocks, verity.hash_offset(blocks),
                  tree.salt, tree.root_hash)  # fmt: skip
    stored = verity.pack_superblock(salt, blocks) + tree.blocks
    leaves = transfer.checked_leaves(image, stored)
    hash_block = verity.salted(salt)
    assert leaves == b"".join(hash_block(block) for block in data)
    place = random.Random(seed).randrange(len(stored))
    wrong = stored[:place] + bytes([stored[place] ^ 1]) + stored[place + 1 :]
    assert transfer.checked_leaves(image, wrong) == b""
