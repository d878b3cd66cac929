"""A list with an index: its fields, its plan, and what is refused."""

from __future__ import annotations

import json

import pytest
from test_model import code_of

from bootunion import canonical, plan, systemlist, verity
from bootunion import operations as op
from bootunion.package import Image
from bootunion.systemlist import Layer, SystemList


def erofs(seed: str) -> Image:
    return Image("erofs", verity.file_size(2), 2, 8192, "0" * 64, seed * 64)


def indexed(count: int = 2, **changes: object) -> SystemList:
    layers = tuple(
        Layer(f"p{number}", "1", "all", erofs("a")._replace(root_hash=f"{number:064x}"))
        for number in range(count)
    )
    index = Layer("demo-index", "1", "amd64", erofs("f"))
    made = SystemList("demo", 3, 1, 0, "amd64", "", layers, "volatile", "0" * 64)
    return made._replace(index_layer=index, **changes)


def test_it_reads_back_as_written() -> None:
    assert systemlist.decode(indexed().encode(), subject="x") == indexed()


def test_older_agents_refuse_it_by_its_schema() -> None:
    assert json.loads(indexed().encode())["schema"] == 2
    assert json.loads(indexed()._replace(index_layer=None).encode())["schema"] == 1


def test_it_may_have_more_layers_than_an_overlay_takes() -> None:
    many = indexed(5000)
    assert systemlist.decode(many.encode(), subject="x") == many
    plain = many._replace(index_layer=None)
    assert code_of(systemlist.decode, plain.encode(), subject="x") == "list-invalid"


def test_ten_thousand_layers_fit_in_a_list_file() -> None:
    encoded = len(indexed(systemlist.MAX_INDEXED).encode())
    assert encoded * 4 / 3 < systemlist.MAX_SIZE


@pytest.mark.parametrize(
    "change",
    [
        {"need": "optional"}, {"root": "/inside"}, {"format": "squashfs"},
        {"root_hash": "f" * 64},
    ],
    ids=str,
)  # fmt: skip
def test_a_layer_that_an_index_cannot_point_into_is_refused(change: dict[str, str]) -> None:
    raw = json.loads(indexed().encode())
    layer = raw["layers"][1]
    layer.update(change)
    stem = f"p1_1_all_{layer['root_hash'][:16]}"
    layer["file"] = f"{stem}.{layer['format']}"
    assert code_of(systemlist.decode, canonical.encode(raw), subject="x") == "list-invalid"


def test_an_index_under_another_name_is_refused() -> None:
    other = indexed()._replace(index_layer=Layer("other", "1", "amd64", erofs("f")))
    assert code_of(systemlist.decode, other.encode(), subject="x") == "list-invalid"


def test_an_index_without_its_schema_and_a_schema_without_an_index_are_refused() -> None:
    raw = json.loads(indexed().encode())
    for wrong in (raw | {"schema": 1}, {k: v for k, v in raw.items() if k != "index"}):
        assert code_of(systemlist.decode, canonical.encode(wrong), subject="x") == "list-invalid"


def test_every_device_is_bound_before_the_one_mount() -> None:
    steps = plan.for_boot(indexed(3), plan.Places())
    names = [type(one) for one in steps]
    assert names.count(op.AttachLoop) == names.count(op.CreateVerity) == 4
    assert op.MountImage not in names
    mounted = steps[names.index(op.MountIndex)]
    assert mounted == op.MountIndex(3, "demo-index", "erofs", 3)
    last_verity = max(at for at, kind in enumerate(names) if kind is op.CreateVerity)
    assert last_verity < names.index(op.MountIndex) < names.index(op.MountOverlay)
    (overlay,) = (one for one in steps if isinstance(one, op.MountOverlay))
    assert overlay.lower == ((3, "/"),)


def test_the_devices_stand_in_the_lists_order() -> None:
    system = indexed(3)
    steps = plan.for_boot(system, plan.Places())
    bound = {one.layer: one.root_hash for one in steps if isinstance(one, op.CreateVerity)}
    assert bound == {at: one.image.root_hash for at, one in enumerate(system.packages)}


def test_without_the_index_the_same_list_is_an_overlay_of_its_layers() -> None:
    steps = plan.for_boot(indexed(3)._replace(index_layer=None), plan.Places())
    (overlay,) = (one for one in steps if isinstance(one, op.MountOverlay))
    assert overlay.lower == ((0, "/"), (1, "/"), (2, "/"))
    assert plan.union(indexed(3)) == "index"
    assert plan.union(indexed(3)._replace(index_layer=None)) == "layers"
