"""The model: what is refused, what is kept, and how layers merge."""

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootunion import (
    canonical,
    cmdline,
    contents,
    dsse,
    merge,
    plan,
    signature,
    systemlist,
    trust,
    verity,
)
from bootunion import operations as op
from bootunion.contents import Entry
from bootunion.errors import BootunionError
from bootunion.package import Image
from bootunion.systemlist import Layer, SystemList


def image(seed: str = "a") -> Image:
    return Image("squashfs", verity.file_size(2), 2, 8192, "0" * 64, seed * 64)


def system(**changes: object) -> SystemList:
    layers = (Layer("one", "1:2-3", "amd64", image("a")), Layer("two", "1", "all", image("b")))
    made = SystemList("demo", 3, 1, 0, "amd64", "6.1", layers, "volatile", "0" * 64)
    return made._replace(**changes)


def code_of(call, *arguments, **named) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(BootunionError) as caught:
        call(*arguments, **named)
    return caught.value.code


def test_a_list_reads_back_as_written() -> None:
    assert systemlist.decode(system().encode(), subject="x") == system()


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 0}, {"floor": 4}, {"schema": 2}, {"extra": 1}, {"name": "../x"},
        {"layers": []}, {"upper": "maybe"}, {"namespace": "zz"}, {"generation": True},
    ],
    ids=str,
)  # fmt: skip
def test_an_impossible_list_is_refused(change: dict[str, object]) -> None:
    raw = json.loads(system().encode()) | change
    assert code_of(systemlist.decode, canonical.encode(raw), subject="x") == "list-invalid"


@pytest.mark.parametrize("key, value", [("file", "../../etc/shadow"), ("size", 1), ("salt", "0")])
def test_an_impossible_layer_is_refused(key: str, value: object) -> None:
    raw = json.loads(system().encode())
    raw["layers"][0][key] = value
    assert code_of(systemlist.decode, canonical.encode(raw), subject="x") == "list-invalid"


def test_the_same_package_twice_is_refused() -> None:
    twice = system(layers=system().layers[:1] * 2)
    assert code_of(systemlist.decode, twice.encode(), subject="x") == "list-invalid"


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":2}', "1.5", "NaN", "[" * 100_000, "9" * 30, "\ufeff1", "[1] 2", '"\xff']
)
def test_json_that_could_mean_two_things_is_refused(text: str) -> None:
    assert code_of(canonical.decode, text.encode("latin-1", "replace"), subject="x") == (
        "json-invalid"
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_an_envelope_or_a_refusal(data: bytes) -> None:
    try:
        dsse.decode(data, subject="x")
    except BootunionError as error:
        assert error.code == "envelope-invalid"


def trusted() -> tuple[trust.Trust, bytes]:
    private, public = signature.generate()
    key_id = signature.key_id(public)
    role = trust.Role((key_id,), 1)
    root = signature.generate()[1]
    keys = {key_id: public, signature.key_id(root): root}
    roles = {"root": trust.Role((signature.key_id(root),), 1), "list": role, "package": role}
    return trust.Trust(keys, roles), private


def signed(private: bytes, kind: str = systemlist.PAYLOAD_TYPE) -> dsse.Envelope:
    payload = system().encode()
    public, value = signature.sign(private, dsse.pre_authentication(kind, payload), subject="k")
    return dsse.Envelope(kind, payload, (dsse.Signature(signature.key_id(public), value),))


def test_a_signed_list_opens_and_the_trust_store_reads_back() -> None:
    believed, private = trusted()
    believed = trust.decode(believed.encode(), subject="t")
    payload, signers = trust.open_envelope(believed, "list", signed(private), subject="x")
    assert (payload, len(signers)) == (system().encode(), 1)


def test_each_way_to_cheat_with_signatures_is_refused() -> None:
    believed, private = trusted()
    good = signed(private)
    opened = {
        "flipped payload": good._replace(payload=good.payload[:-2] + b" }"),
        "truncated payload": good._replace(payload=good.payload[:-1]),
        "flipped signature": good._replace(
            signatures=(good.signatures[0]._replace(value=bytes(64)),)
        ),
        "unknown key": signed(signature.generate()[0]),
        "no signature": good._replace(signatures=()),
        "other type": signed(private, "application/other"),
    }
    codes = {
        name: code_of(trust.open_envelope, believed, "list", envelope, subject="x")
        for name, envelope in opened.items()
    }
    assert codes == {
        "flipped payload": "signature-invalid",
        "truncated payload": "signature-invalid",
        "flipped signature": "signature-invalid",
        "unknown key": "signature-untrusted",
        "no signature": "signature-untrusted",
        "other type": "envelope-invalid",
    }


def test_the_same_signature_twice_counts_once() -> None:
    believed, private = trusted()
    key_ids = (*believed.keys, "f" * 64)
    two = believed._replace(roles=believed.roles | {"list": trust.Role(key_ids, 2)})
    good = signed(private)
    twice = good._replace(signatures=good.signatures * 2)
    assert code_of(trust.open_envelope, two, "list", twice, subject="x") == "signature-untrusted"


def test_base64_has_one_spelling() -> None:
    raw = json.loads(signed(trusted()[1]).encode())
    raw["payload"] = base64.b64encode(b"ab").decode()[:-2] + "J="
    assert code_of(dsse.decode, canonical.encode(raw), subject="x") == "envelope-invalid"


def test_the_kernel_command_line_is_read() -> None:
    text = 'ro bootunion=demo bootunion.generation=7 bootunion.store="LABEL=my pkgs" quiet'
    found = cmdline.parse(text)
    assert (found.list_name, found.generation, found.store) == ("demo", 7, "LABEL=my pkgs")


@pytest.mark.parametrize(
    "text",
    ["bootunion=../x", "bootunion.generation=0", "bootunion.storr=x", "bootunion.dir=/../x",
     "bootunion.on-failure=party", "bootunion.store=sda1"],
)  # fmt: skip
def test_a_wrong_parameter_is_refused(text: str) -> None:
    assert code_of(cmdline.parse, text) == "cmdline-invalid"


def test_the_plan_binds_each_package_before_it_mounts_it() -> None:
    steps = plan.for_boot(system(), plan.Places())
    for index in range(2):
        kinds = [type(one) for one in steps if getattr(one, "layer", None) == index]
        assert kinds == [op.AttachLoop, op.CreateVerity, op.MountImage]


def test_a_list_for_another_machine_is_refused() -> None:
    machine = plan.Machine("aarch64", "6.12")
    codes = [one.code for one in plan.refusals(system(), machine)]
    assert codes == ["architecture-mismatch", "kernel-mismatch"]


@pytest.mark.parametrize("blocks", [1, 2, 127, 128, 129, 20_000])
def test_veritysetup_agrees_with_our_tree(tmp_path: Path, blocks: int) -> None:
    data = os.urandom(4096) * blocks
    salt = verity.derive_salt(b"x" * 32)
    tree = verity.build_tree(verity.blocks_of([data]), salt)
    file = tmp_path / "image"
    file.write_bytes(data + verity.pack_superblock(salt, blocks) + tree.blocks)
    assert file.stat().st_size == verity.file_size(blocks)
    argv = ["/usr/sbin/veritysetup", "verify", str(file), str(file), tree.root_hash,
            f"--hash-offset={len(data)}"]  # fmt: skip
    assert subprocess.run(argv, check=False).returncode == 0
    with file.open("r+b") as handle:
        handle.seek(len(data) - 1)
        handle.write(bytes([data[-1] ^ 1]))
    assert subprocess.run(argv, capture_output=True, check=False).returncode != 0


def directory(path: str) -> Entry:
    return Entry(path, contents.DIRECTORY, 0o755, 0, 0)


def test_the_first_layer_with_a_path_wins_and_a_file_ends_the_merging() -> None:
    top = [directory(""), directory("a")]
    middle = [directory(""), Entry("a", contents.SYMLINK, 0o777, 0, 0, target="b")]
    bottom = [directory(""), directory("a"), Entry("a/x", contents.FILE, 0o644, 0, 0)]
    merged = merge.merge([top, middle, bottom])
    assert set(merged.paths) == {"", "a"}
    assert merged.contested == (
        merge.Contested("a", 0, 1, "directory-over-symlink"),
        merge.Contested("a", 1, 2, "type"),
        merge.Contested("a/x", 1, 2, "type"),
    )


def test_each_unit_that_a_list_names_is_asked_for_by_name() -> None:
    steps = plan.for_boot(system(good_when=("a.service", "b\\x2d.mount")), plan.Places())
    texts = [one.text for one in steps if isinstance(one, op.WriteFile)]
    lines = [line for text in texts for line in text.splitlines() if "is-active" in line]
    # systemd reads a backslash in a command as the beginning of an escape (systemd.service(5)).
    assert [line.split()[-1] for line in lines] == ["a.service", "b\\\\x2d.mount"]
    assert not any("is-active" in one.text for one in plan.for_boot(system(), plan.Places())
                   if isinstance(one, op.WriteFile))  # fmt: skip
