"""`bootunion plan` through the real command line, on stores of small packages."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from composing import BOOTUNION, CACHE, TOP, Said, Shop, deb, needs_root, run

from bootunion import merge, systemlist
from bootunion.host import build, packaging
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.manifest import Manifest
from bootunion.package import SQUASHFS
from bootunion.systemlist import Layer, SystemList

SCHEMA = json.loads((TOP / "docs/plan.schema.json").read_text())


class Desk:
    """A store, keys, and lists made of directories."""

    image_format = SQUASHFS

    def __init__(self, top: Path, keys: Path) -> None:
        self.top, self.keys = top, keys
        self.store = Store(top / "store").create()

    def package(self, name: str, version: str = "1", **files: str) -> Manifest:
        """A package with these files; a text that begins with "→" is a symlink's target."""
        tree = self.top / f"{name}-{version}"
        for path, text in files.items():
            at = tree / path
            at.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("→"):
                at.symlink_to(text[1:])
            else:
                at.write_text(text)
        return self.tree(name, version, tree)

    def tree(self, name: str, version: str, tree: Path) -> Manifest:
        about = Description(name, version, "all")
        signer = Signer(self.keys / "package.key")
        return packaging.write_package(
            self.store, build.members(tree), about, None, signer, image_format=self.image_format
        )

    def base(self) -> Manifest:
        """What a root needs to boot."""
        tree = self.top / "base-1"
        if not tree.exists():
            for name in ("proc", "sys", "dev", "run", "pkgs", "usr/sbin", "usr/bin", "etc"):
                (tree / name).mkdir(parents=True)
            (tree / "sbin").symlink_to("usr/sbin")
            (tree / "bin").symlink_to("usr/bin")
            init = tree / "usr/sbin/init"
            init.write_bytes(b"")
            init.chmod(0o755)
            (tree / "etc/os-release").write_text("ID=test\n")
        return self.tree("base", "1", tree)

    def list(self, *packages: Manifest, name: str = "desk", generation: int = 1) -> SystemList:
        layers = tuple(Layer(*one[:3], one.image) for one in packages)
        merged = merge.merge(self.store.entries(one) for one in packages)
        digest = merged.digest([one.image.root_hash for one in packages])
        made = SystemList(name, generation, 0, 0, "amd64", "", layers, "volatile", digest)
        envelope = Signer(self.keys / "list.key")(made.encode(), systemlist.PAYLOAD_TYPE)
        self.store.add_list(name, generation, envelope)
        return made

    def plan(self, *words: object, status: int = 0) -> str:
        said = self.say(*words)
        assert said.status == status, said.out + said.err
        return said.out

    def say(self, *words: object) -> Said:
        where = ("--store", self.store.path, "--trust", self.keys / "trust")
        return run([str(BOOTUNION), "plan", *map(str, (*words, *where))])

    def json(self, *words: object, status: int = 0) -> Any:
        return json.loads(self.plan(*words, "--json", status=status))


@pytest.fixture
def desk(tmp_path: Path, keys: Path) -> Desk:
    return Desk(tmp_path, keys)


def test_the_json_is_what_the_schema_says(desk: Desk) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    top = desk.package("top", **{"usr/bin/tool": "new", "etc/x": "same"})
    bottom = desk.package("bottom", **{"usr/bin/tool": "old", "etc/x": "same"})
    desk.list(desk.base(), bottom, generation=1)
    desk.list(top, desk.base(), bottom, generation=2)
    value = desk.json("desk", "--against", "desk@1")
    jsonschema.validate(value, SCHEMA)
    assert value["boots"] and value["union"]["matches_list"]
    assert [one["name"] for one in value["layers"]] == ["top", "base", "bottom"]
    assert all(one["verified"] and one["present"] for one in value["layers"])
    assert [(one["wins"] > 0, one["loses"]) for one in value["layers"]] == [
        (True, 0), (True, 0), (False, 2)
    ]  # fmt: skip
    kinds = {one["path"]: one["kind"] for one in value["contested"] if one["loser"] == "bottom"}
    assert kinds == {"/etc/x": "same", "/usr/bin/tool": "content"}
    assert value["pairs"] == [
        {"winner_position": 0, "loser_position": 2, "winner": "top", "loser": "bottom",
         "kinds": {"content": 1, "same": 1}}
    ]  # fmt: skip
    assert value["diff"]["added"] == [{"name": "top", "version": "1"}]
    assert value["diff"]["paths"]["changed"] == [{"path": "/usr/bin/tool", "what": ["content"]}]
    shown = desk.plan("desk", "--against", "desk@1")
    assert "added\ttop\t\t1" in shown and "changed\t/usr/bin/tool\tcontent" in shown
    assert shown.splitlines()[-1] == "verdict  this root boots"
    schema = {"$defs": SCHEMA["$defs"], "$ref": "#/$defs/diff"}
    jsonschema.validate(desk.json("--diff", "desk@1", "desk@2"), schema)


def test_the_table_shows_each_layer_and_each_pair(desk: Desk) -> None:
    top = desk.package("top", **{f"usr/share/{name}": "new" for name in "abcde"})
    bottom = desk.package("bottom", **{f"usr/share/{name}": "old" for name in "abcde"})
    desk.list(top, desk.base(), bottom)
    said = desk.plan("desk")
    rows = [line.split("\t") for line in said.splitlines() if "\t" in line]
    assert rows[1][1] == "(volatile upper)"
    assert [row[1] for row in rows[2:5]] == ["top", "base", "bottom"]
    shadowed = "top\tbottom\t5 content\t/usr/share/a /usr/share/b /usr/share/c and 2 more"
    assert shadowed in said
    assert "/usr/share/e\ttop\tbottom\tcontent\twarning" in desk.plan("desk", "--paths")
    assert said.splitlines()[-1] == "verdict  this root boots"


def test_why_follows_symlinks_and_names_who_is_hidden(desk: Desk) -> None:
    top = desk.package("top", **{"usr/bin/tool": "new", "etc/way": "→/bin/tool"})
    bottom = desk.package("bottom", **{"usr/bin/tool": "older"})
    desk.list(top, desk.base(), bottom)
    said = desk.plan("desk", "--why", "/etc/way")
    assert said.splitlines()[0].startswith("/etc/way → /bin/tool   (top 1)")
    assert said.splitlines()[1].startswith("/bin → usr/bin   (base 1)")
    assert "/usr/bin/tool   -rw-r--r--  0:0  3 bytes" in said
    assert "given by   top 1, position 0" in said
    assert f"made from  directory {top.source.sha256}" in said
    assert "hides      bottom 1, position 2: -rw-r--r--  0:0  5 bytes (content)" in said
    value = desk.json("desk", "--why", "/etc/way")
    assert [one["package"] for one in value["links"]] == ["top", "base"]
    assert value["path"] == "/usr/bin/tool"
    assert value["hidden"][0]["entry"]["size"] == 5
    assert "hides      nothing" in desk.plan("desk", "--why", "/etc/os-release")


def test_why_of_what_is_not_there_says_what_is(desk: Desk) -> None:
    desk.list(desk.package("one", **{"usr/bin/tool": "", "etc/loop": "→loop"}), desk.base())
    said = desk.say("desk", "--why", "/bin/tols").refused("path-missing", 3)
    assert "the root has no /usr/bin/tols; there is tool" in said
    assert "circle" in desk.say("desk", "--why", "/etc/loop").refused("path-missing", 3)


def test_the_tree_names_the_origin_of_each_entry(desk: Desk) -> None:
    top = desk.package("top", **{"etc/a/deep": "x", "etc/odd \udcff": "x", "etc/l": "→a"})
    desk.list(top, desk.base())
    rows = [line.split("\t") for line in desk.plan("desk", "--tree", "/etc").splitlines()[1:]]
    assert [(row[3], row[4]) for row in rows] == [
        ("a/", "top"), ("l → a", "top"), ("odd \\xff", "top"), ("os-release", "base")
    ]  # fmt: skip
    deeper = desk.json("desk", "--tree", "/etc", "--depth", "2")
    assert [one["entry"]["path"] for one in deeper][:2] == ["/etc/a", "/etc/a/deep"]
    desk.say("desk", "--tree", "/etc/os-release").refused("path-missing", 3)


def test_the_difference_of_two_lists(desk: Desk) -> None:
    base = desk.base()
    one = [desk.package(name, **{f"opt/{name}": "1"}) for name in ("a", "b", "c", "d", "gone")]
    newer = desk.package("b", "2", **{"opt/b": "22", "opt/more": "x"})
    older = desk.package("c", "0.9", **{"opt/c": "1"})
    rebuilt = desk.package("d", "1", **{"opt/d": "other"})
    extra = desk.top / "extra-1"
    (extra / "opt").mkdir(parents=True)
    (extra / "opt/su").write_text("")
    (extra / "opt/su").chmod(0o4755)
    added = desk.tree("extra", "1", extra)
    desk.list(base, *one, generation=1)
    desk.list(newer, older, rebuilt, one[0], base, added, generation=2)
    found = desk.json("--diff", "desk@1", "desk@2")
    assert found["added"] == [{"name": "extra", "version": "1"}]
    assert found["removed"] == [{"name": "gone", "version": "1"}]
    assert found["upgraded"] == [{"name": "b", "from": "1", "to": "2"}]
    assert found["downgraded"] == [{"name": "c", "from": "1", "to": "0.9"}]
    assert found["changed"] == [{"name": "d", "version": "1"}]
    # The fewest that have to move: b, c and d keep their order.
    assert {move["name"] for move in found["reordered"]} == {"a", "base"}
    assert found["paths"] == {
        "added": ["/opt/more", "/opt/su"], "removed": ["/opt/gone"],
        "changed": [{"path": "/opt/b", "what": ["size", "content"]},
                    {"path": "/opt/d", "what": ["size", "content"]}],
    }  # fmt: skip
    assert found["privileges"] == [{"path": "/opt/su", "from": "", "to": "setuid 0"}]
    # c's older version has the same bytes, so it is there already.
    assert older.image.root_hash == one[2].image.root_hash
    expected = sum(made.image.size for made in (newer, rebuilt, added))
    assert found["bytes_to_fetch"] == expected
    shown = desk.plan("--diff", "desk@1", "desk@2")
    assert "upgraded\tb\t1\t2" in shown and "privilege /opt/su: none → setuid 0" in shown
    assert "nothing changes" in desk.plan("--diff", "desk@2", "desk")


def test_a_list_may_be_a_file_or_what_the_command_line_asks_for(desk: Desk) -> None:
    desk.list(desk.base(), generation=1)
    desk.list(desk.base(), desk.package("x", y="z"), generation=2)
    file = desk.top / "elsewhere.json"
    shutil.copy(desk.store.lists / "desk/1.json", file)
    assert desk.json(file)["list"]["source"] == "file"
    asked = desk.json("--cmdline", "quiet bootunion=desk bootunion.generation=1")
    assert asked["list"]["generation"] == 1
    assert desk.json("--cmdline", "bootunion=desk")["list"]["generation"] == 2
    for words, code, status in (
        (["nobody"], "file-missing", 1), (["desk@9"], "file-missing", 1),
        (["desk@x"], "name-invalid", 3), (["../x"], "file-missing", 1),
        (["running"], "not-booted", 1), (["--cmdline", "bootunion=/"], "cmdline-invalid", 3),
    ):  # fmt: skip
        desk.say(*words).refused(code, status)
    assert desk.say().status == 2
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert desk.say(file).status == 4


def test_what_is_denied_makes_the_exit_status_fail(desk: Desk) -> None:
    desk.list(desk.package("top", **{"etc/x": "1"}), desk.base(),
              desk.package("bottom", **{"etc/x": "2"}))  # fmt: skip
    desk.plan("desk")
    desk.plan("desk", "--deny", "type")
    said = desk.plan("desk", "--deny", "content", "--deny", "type", status=5)
    assert "denied   content" in said and "denied   type" not in said
    assert desk.json("desk", "--deny", "content", status=5)["denied"] == ["content"]
    wrong = desk.say("desk", "--deny", "contents")
    assert wrong.status == 2 and "'contents' is none of" in wrong.err
    assert "content" in desk.plan("--deny", "list").split()


def test_a_package_that_is_missing_or_changed_is_named(desk: Desk) -> None:
    one, two = desk.package("one", a="1"), desk.package("two", b="2")
    desk.list(desk.base(), one, two)
    (desk.store.packages / one.file_name).unlink()
    contents = desk.store.packages / f"{two.stem}.contents"
    contents.write_bytes(contents.read_bytes() + b" ")
    value = desk.json("desk", status=5)
    problems = {one["name"]: (one["problem"].partition(":")[0], one["present"], one["verified"])
                for one in value["layers"]}  # fmt: skip
    assert problems == {
        "base": ("", True, True), "one": ("file-missing", False, False),
        "two": ("file-too-large", True, False),
    }  # fmt: skip
    assert value["cost"]["download_bytes"] == one.image.size
    assert value["cost"]["missing_packages"] == 1


@needs_root
def test_a_system_yaml_is_planned_before_it_is_composed(shop: Shop, tmp_path: Path) -> None:
    own = deb(tmp_path, "own", {"usr/share/own": "x"})
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/setting").write_text("1")
    local = f"local: [{own}, {{directory: {tree}, name: config, version: '1'}}]\n"
    yaml = shop.write(f"packages: [systemd-sysv]\n{local}")
    argv = [BOOTUNION, "plan", yaml, "--store", shop.store, "--trust", shop.keys / "trust",
            "--cache", CACHE]  # fmt: skip
    before = sorted(path.name for path in shop.store.rglob("*"))
    said = run([*map(str, argv), "--json"])
    value = json.loads(said.out)
    jsonschema.validate(value, SCHEMA)
    assert [one["name"] for one in value["layers"]][:3] == ["small-generated", "own", "config"]
    assert value["list"]["source"] == "system.yaml" and value["union"]["digest"] == ""
    stored = [one for one in value["layers"] if one["root_hash"]]
    assert len(stored) > 50 and all(one["verified"] for one in stored)
    assert value["union"]["types"]["file"] > 3000
    assert value["cost"]["missing_packages"] >= 2
    assert sorted(path.name for path in shop.store.rglob("*")) == before
    people = run([*map(str, argv), "--why", "/etc/setting"])
    assert "given by   config 1, position 2" in people.out, people.err


def test_the_plan_needs_no_root(desk: Desk) -> None:
    desk.list(desk.base())
    if os.geteuid() != 0:
        assert desk.plan("desk")
        return
    for path in (desk.top, *desk.top.parents):
        if path.stat().st_uid == 0 and path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(0o755)
    shutil.copytree(desk.keys / "trust", desk.top / "trust")
    words = ["plan", "desk", "--store", desk.store.path, "--trust", desk.top / "trust"]
    program = "from bootunion.host.cli import main; import sys; sys.argv[0]='bootunion'; main()"
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    argv = [*become, sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
