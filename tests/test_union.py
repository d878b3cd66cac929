"""The merged namespace is what overlayfs serves: random layers, on the kernel that runs.

BOOTUNION_UNION_CASES asks for more cases than the ordinary suite takes (`make union`); what a long
run printed stands in docs/measurements.md.
"""

import os
import shutil
import tempfile
from pathlib import Path

import erofstools
import pytest
from composing import needs_root
from hypothesis import HealthCheck, given, settings
from unions import (
    LAYERS,
    Node,
    check_contested,
    check_served,
    create,
    entries_of,
)

from bootunion import merge, plan
from bootunion.host import build, namespace, packaging
from bootunion.host.index import making
from bootunion.host.packaging import Description
from bootunion.host.signing import Signer
from bootunion.host.store import Store
from bootunion.initrd import mount
from bootunion.package import EROFS_UNCOMPRESSED, IMAGE_FORMATS, SQUASHFS
from bootunion.systemlist import Layer, SystemList

CASES = int(os.environ.get("BOOTUNION_UNION_CASES", "300"))
# The executor's options (initrd/executor.py): attributes of a layer lead nowhere.
_OPTIONS = "redirect_dir=nofollow,metacopy=off"

pytestmark = needs_root


def overlay(lower: list[Path], root: Path) -> None:
    root.mkdir(exist_ok=True)
    names = ":".join(map(str, lower))
    mount.mount("test", str(root), "overlay", mount.MS_RDONLY, f"lowerdir={names},{_OPTIONS}")


def test_each_path_winner_and_hidden_path_of_random_layers(tmp_path: Path) -> None:
    ran = {"cases": 0, "paths": 0, "contested": 0}
    kinds: set[str] = set()

    @settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(LAYERS)
    def cases(trees: list[dict[str, Node]]) -> None:
        place = Path(tempfile.mkdtemp(dir=tmp_path))
        layers = [entries_of(number, tree) for number, tree in enumerate(trees)]
        for number, tree in enumerate(trees):
            create(place / str(number), number, tree, layers[number])
        merged = merge.merge(layers)
        root = place / "root"
        overlay([place / str(number) for number in range(len(trees))], root)
        try:
            served = check_served(merged, root)
        finally:
            mount.unmount(str(root), mount.MNT_DETACH)
        check_contested(merged, layers, served)
        shutil.rmtree(place)
        ran["cases"] += 1
        ran["paths"] += len(served)
        ran["contested"] += len(merged.contested)
        kinds.update(one.kind for one in merged.contested)

    def work() -> tuple[dict[str, int], set[str]]:
        mount.mount("test", str(tmp_path), "tmpfs")
        cases()
        return ran, kinds

    found, seen = namespace.in_namespace(work)
    print(f"\nLinux {os.uname().release}: {found}, 0 differences")
    assert found["cases"] >= CASES
    assert seen == set(merge.KINDS)


def importable(tree: dict[str, Node]) -> dict[str, Node]:
    """What a package may have: its root is always the same, overlayfs's attributes are refused."""
    changed = {
        path: node._replace(kind="file") if node.kind == "marked" else node
        for path, node in tree.items()
    }
    return {**changed, "": Node("directory", 0o755, 0)}


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_images_show_the_same_as_directories(
    tmp_path: Path, signer: Signer, image_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of real packages: directory → image → loop device → overlay, or index over them."""
    if image_format != SQUASHFS:
        erofstools.put_first(monkeypatch, erofstools.directory())
    ran = {"cases": 0, "paths": 0}

    @settings(max_examples=max(15, CASES // 40), deadline=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(LAYERS)
    def cases(trees: list[dict[str, Node]]) -> None:
        place = Path(tempfile.mkdtemp(dir=tmp_path))
        store = Store(place / "store").create()
        made = []
        for number, tree in enumerate(map(importable, trees)):
            entries = entries_of(number, tree)
            create(place / str(number), number, tree, entries)
            markers = [one.path for one in entries if one.is_whiteout or one.xattrs]
            # One time for the whole package: it tells the winner.
            members = build.members(place / str(number), keep_owner=True, mtime=10**9 + number)
            about = Description(f"p{number}", "1", "all")
            made.append(
                packaging.write_package(
                    store, members, about, None, signer, markers=markers, image_format=image_format
                )
            )
        merged = merge.merge(store.entries(one) for one in made)
        listed = tuple(Layer(one.name, "1", "all", one.image) for one in made)
        system = SystemList("test", 1, 1, 0, "amd64", "", listed, "none", "0" * 64)
        if image_format == EROFS_UNCOMPRESSED:
            system = system._replace(index_layer=making.make(store, system, merged, signer))
        steps = plan.for_namespace(system, str(place / "union"), upper="", verity=False)

        def look(root: Path) -> int:
            return len(check_served(merged, root))

        ran["paths"] += namespace.in_namespace(
            lambda: namespace.in_union(store.path, steps, place / "union/root", look)
        )
        ran["cases"] += 1
        shutil.rmtree(place)

    cases()
    print(f"\nLinux {os.uname().release}: {ran}, 0 differences")
