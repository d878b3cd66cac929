"""The checks of a system that was really composed, and its approvals in the signed list."""

import json
from pathlib import Path

import pytest
from composing import CACHE, Shop, deb, needs_root, run

from bootunion import checks, merge, plan
from bootunion.checks import INFO
from bootunion.checks.linking import Linker
from bootunion.checks.root import Root
from bootunion.host import namespace, planning, reading, signing
from bootunion.host.sandbox import Sandbox
from bootunion.host.store import Store
from bootunion.systemlist import Shadowing

pytestmark = needs_root


def planned(shop: Shop) -> planning.Preview:
    return planning.of_stored(Store(shop.store), signing.read_trust(shop.keys / "trust"), "small")


def test_a_real_system_gives_no_alarm(pair: tuple[Shop, list[str]]) -> None:
    found = planned(pair[0])
    # The small system has systemd without systemd-sysv: no init, and that is all.
    alarms = [one for one in found.findings if one.severity != INFO]
    assert [(one.code, one.path) for one in alarms] == [("init-missing", "/sbin/init")]
    assert len(found.findings) < 6, found.findings
    cache = found.merged.paths["etc/ld.so.cache"][1].linking
    assert cache is not None and "/lib/x86_64-linux-gnu" in cache.search


TRACE = """
while read -r path; do
    echo "file $path"
    LD_TRACE_LOADED_OBJECTS=1 /lib64/ld-linux-x86-64.so.2 "/$path" 2>&1
done <<'END'
{}
END
"""


def lacking(root: Root, linker: Linker, path: str) -> set[str]:
    """What is not found when ld.so loads a file, and all that it needs, in ld.so's order."""
    waiting, names, missing = [path], set(), set()
    for here in waiting:
        linking = root.paths[here][1].linking
        for name in linking.needed if linking else ():
            if name in names:
                continue  # it is loaded already
            at = linker.library(here, linking, name)
            if at is None:
                missing.add(name)
                continue
            names |= {name, root.paths[at][1].linking.soname}
            if at not in waiting:
                waiting.append(at)
    return missing


@pytest.mark.parametrize("without", [(), ("libselinux1", "libzstd1", "libaudit1", "libpam0g")])
def test_libraries_are_found_as_the_real_loader_finds_them(
    without: tuple[str, ...], pair: tuple[Shop, list[str]], tmp_path: Path
) -> None:
    shop = pair[0]
    trusted, store = signing.read_trust(shop.keys / "trust"), Store(shop.store)
    system = reading.read_list(store, trusted, "small", 0)[0]
    layers = tuple(one for one in system.layers if one.name not in without)
    assert len(layers) == len(system.layers) - len(without)
    system = system._replace(layers=layers)
    manifests = [reading.read_manifest(store, trusted, one) for one in layers]
    root = Root(system, merge.merge(store.entries(one) for one in manifests), manifests)
    linker = Linker(root)
    files = [path for path in root.linked if (one := root.paths[path][1].linking)
             and one.machine == "64-x86-64" and one.needed]  # fmt: skip
    assert len(files) > 300
    upper = tmp_path / "upper"
    upper.mkdir()
    steps = plan.for_namespace(system, str(tmp_path / "u"), upper=str(upper), verity=False)

    def ask(at: Path) -> None:
        box = Sandbox(at)
        box.prepare()
        program = TRACE.format("\n".join(files))
        box.run(["/bin/sh", "-c", program], what="asking ld.so", heard=namespace.tell)

    heard: list[str] = []
    namespace.in_namespace(
        lambda: namespace.in_union(shop.store, steps, tmp_path / "u/root", ask),
        network=False, hear=heard.append,
    )  # fmt: skip
    said: dict[str, set[str]] = {}
    for line in heard:
        words = line.split()
        if words[0] == "file":
            missing = said.setdefault(words[1], set())
        elif words[-2:] == ["not", "found"]:
            missing.add(words[0])
    assert said.keys() == set(files)
    different = {path: (theirs, ours) for path, theirs in said.items()
                 if theirs != (ours := lacking(root, linker, path))}  # fmt: skip
    assert not different
    # ld.so found all, or in the second case as much as the test is worth.
    assert sum(map(bool, said.values())) > 50 or not without


def test_approved_shadowings_are_in_the_signed_list(shop: Shop, tmp_path: Path) -> None:
    mine = deb(tmp_path, "mine", {"usr/share/common-licenses/GPL-3": "mine",
                                  "usr/share/common-licenses/GPL-2": "mine",
                                  "usr/lib/os-release": "ID=mine"})  # fmt: skip
    text = f"local: [{mine}]\n"
    assert shop.compose(text).status == 0
    (before,) = (one for one in planned(shop).findings if one.code == "shadowed")
    assert "mine hides what base-files has at /usr/lib/os-release (and 2 more" in before.text
    text += ("approve:\n"
             "  - {path: /usr/share/common-licenses/*, winner: mine, loser: base-files}\n"
             "  - {path: /lib/os-release, winner: mine, loser: base-files}\n")  # fmt: skip
    # Before it is composed the plan of the system.yaml knows it, too.
    words = [*shop.argv(text)[:1], "plan", shop.top / "system.yaml", "--store", shop.store,
             "--trust", shop.keys / "trust", "--cache", CACHE, "--json"]  # fmt: skip
    draft = json.loads(run([str(word) for word in words]).out)
    assert "shadowed" not in [one["code"] for one in draft["findings"]]
    assert sum(one["approved"] for one in draft["contested"]) == 3
    assert shop.compose(text).status == 0
    found = planned(shop)
    paths = ("lib/os-release", "share/common-licenses/GPL-2", "share/common-licenses/GPL-3")
    approved = {Shadowing(f"/usr/{path}", "mine", "base-files") for path in paths}
    assert approved <= set(found.system.shadowings)
    assert not [one for one in found.findings if one.code == "shadowed"]
    assert {checks.severity(one, found.system) for one in found.merged.contested} == {INFO}
    words = [*shop.argv()[:1], "plan", "small", "--store", shop.store, "--trust",
             shop.keys / "trust", "--deny", "content", "--json"]  # fmt: skip
    said = run([str(word) for word in words])
    assert json.loads(said.out)["denied"] == []


def test_an_approval_of_nothing_ends_the_compose(shop: Shop) -> None:
    before = shop.lists()
    text = "approve: [{path: /usr/lib/os-release, winner: dash, loser: base-files}]\n"
    said = shop.compose(text)
    assert "/usr/lib/os-release" in said.refused("approval-unmatched", 3)
    assert "configuring" not in said.err  # it is found before the scripts run
    assert shop.lists() == before and shop.whole()
