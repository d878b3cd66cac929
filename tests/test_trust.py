"""The rules of the trust store, an attack each: what a machine believes, refuses, and says."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import edwards
import pytest
import repository as repo
from repository import Machine, Members, Repository, people, person

from bootunion import canonical, dsse, manifest, published, signature, systemlist, trust
from bootunion.errors import BootunionError


def code_of(call, *arguments, **named) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(BootunionError) as caught:
        call(*arguments, **named)
    return caught.value.code


def members(root: int = 1, of: int = 1, lists: int = 1, lists_of: int = 1) -> Members:
    return {
        "root": (people(of), root),
        "list": (people(lists_of), lists),
        "package": (people(1), 1),
    }


@pytest.fixture
def honest() -> Repository:
    made = Repository(members())
    made.publish_list(repo.system(1))
    return made


def test_a_machine_follows_two_rotations_of_the_root_key(honest: Repository) -> None:
    honest.change(honest.members | {"root": (people(2), 2)})
    honest.change(honest.members | {"root": (people(1), 1)})
    booted = Machine(honest.anchor).boot(honest.files, repo.list_path(1))
    assert (booted.trust, booted.refusals) == (honest.trusts[3], ())


def test_a_trust_store_reads_back_as_written() -> None:
    made = repo.trust_of(members(2, 3, 2, 2), version=7, expires=9, revoked=("ab" * 32,))
    assert trust.decode(made.encode(), subject="t") == made


# Rollback, freeze, fast-forward


def test_a_machine_does_not_go_back_to_an_older_version(honest: Repository) -> None:
    honest.change(honest.members)
    machine = Machine(honest.anchor)
    machine.boot(honest.files, repo.list_path(1))
    assert machine.seen == honest.trusts[2].seen
    withheld = {path: data for path, data in honest.files.items() if path != repo.trust_path(2)}
    assert code_of(machine.boot, withheld, repo.list_path(1)) == "trust-rolled-back"
    damaged = honest.files | {repo.trust_path(2): b"{}"}
    assert code_of(machine.boot, damaged, repo.list_path(1)) == "trust-rolled-back"


def test_a_refused_version_is_told_and_the_one_before_stays(honest: Repository) -> None:
    honest.change(honest.members)
    damaged = honest.files | {repo.trust_path(2): b"{}"}
    booted = Machine(honest.anchor).boot(damaged, repo.list_path(1))
    assert (booted.trust.version, booted.refusals) == (1, ("envelope-invalid",))


def test_a_machine_that_is_frozen_stops_at_the_expiry_and_goes_on_with_a_newer_version() -> None:
    made = Repository(members(), expires=2_000)
    made.publish_list(repo.system(1))
    frozen = dict(made.files)
    made.change(made.members, expires=5_000)
    machine = Machine(made.anchor, clock=2_000)
    machine.boot(frozen, repo.list_path(1))
    machine.clock = 2_001
    assert code_of(machine.boot, frozen, repo.list_path(1)) == "trust-expired"
    # Version 1 is on the way only: its expiry does not matter any more.
    assert machine.boot(made.files, repo.list_path(1)).trust.version == 2


@pytest.mark.parametrize("version", [1, 3, trust.MAX_VERSION])
def test_only_the_next_number_is_the_next_version(honest: Repository, version: int) -> None:
    jump = repo.trust_of(honest.members, version=version)
    files = honest.files | {repo.trust_path(2): repo.sign_trust(jump, honest.members["root"][0])}
    machine = Machine(honest.anchor)
    assert machine.boot(files, repo.list_path(1)).refusals == ("trust-misplaced",)
    assert machine.seen.version == 1


def test_a_version_can_not_be_left_out_or_come_early(honest: Repository) -> None:
    for _ in range(2):
        honest.change(honest.members | {"root": (people(1), 1)})
    second, third = repo.trust_path(2), repo.trust_path(3)
    skipped = {path: data for path, data in honest.files.items() if path != second}
    swapped = honest.files | {second: honest.files[third], third: honest.files[second]}
    for files, refusals in ((skipped, ()), (swapped, ("signature-untrusted",))):
        booted = Machine(honest.anchor).boot(files, repo.list_path(1))
        assert (booted.trust.version, booted.refusals) == (1, refusals)


# Forks, mixing, endless data


def test_stolen_old_root_keys_can_not_replace_a_version_that_was_believed(
    honest: Repository,
) -> None:
    thief = person()
    old = honest.members["root"][0]
    honest.change(honest.members | {"root": (people(1), 1)}, revoke=old)
    machine = Machine(honest.anchor)
    machine.boot(honest.files, repo.list_path(1))
    fork = repo.trust_of(
        {"root": (old, 1), "list": ([thief], 1), "package": (people(1), 1)}, version=2
    )
    evil = repo.sign(repo.system(2).encode(), systemlist.PAYLOAD_TYPE, [thief]).encode()
    files = honest.files | {
        repo.trust_path(2): repo.sign_trust(fork, old),
        repo.list_path(2): evil,
    }
    with pytest.raises(BootunionError) as caught:
        machine.boot(files, repo.list_path(2))
    assert caught.value.code == "trust-rolled-back"
    assert "another one of this version" in caught.value.message
    # A machine that never saw version 2 can not know; the anchor of a new initramfs would.
    assert Machine(honest.anchor).boot(files, repo.list_path(2)).trust == fork
    newer = Machine(honest.files[repo.trust_path(2)])
    assert code_of(newer.boot, files, repo.list_path(2)) == "signature-untrusted"


def test_versions_of_two_repositories_do_not_mix(honest: Repository) -> None:
    other = Repository(members())
    other.change(other.members)
    other.publish_list(repo.system(2))
    files = honest.files | {repo.trust_path(2): other.files[repo.trust_path(2)]}
    booted = Machine(honest.anchor).boot(files, repo.list_path(1))
    assert (booted.trust.version, booted.refusals) == (1, ("signature-untrusted",))
    files |= other.files
    assert code_of(Machine(honest.anchor).boot, files, repo.list_path(2)) == "signature-untrusted"


def test_a_version_without_an_end_is_not_read(honest: Repository) -> None:
    files = honest.files | {repo.trust_path(2): b" " * (trust.MAX_SIZE + 1)}
    assert Machine(honest.anchor).boot(files, repo.list_path(1)).refusals == ("file-too-large",)
    huge = b" " * (trust.MAX_SIZE + 1)
    assert code_of(trust.decode_anchor, huge, subject="t") == "file-too-large"


def test_the_walk_is_bounded_and_exactly_the_bound_is_no_refusal(honest: Repository) -> None:
    for _ in range(trust.MAX_STEPS):
        honest.change(honest.members)
    booted = Machine(honest.anchor).boot(honest.files, repo.list_path(1))
    assert (booted.trust.version, booted.refusals) == (trust.MAX_STEPS + 1, ())
    honest.change(honest.members)
    booted = Machine(honest.anchor).boot(honest.files, repo.list_path(1))
    assert (booted.trust.version, booted.refusals) == (trust.MAX_STEPS + 1, ("trust-too-far",))


def test_the_payload_is_not_parsed_before_the_root_role_has_signed_it(
    honest: Repository,
) -> None:
    root = honest.members["root"][0]
    for payload in (b"\xff", b"[" * 100_000, b"{}"):
        for signers, code in ((people(1), "signature-untrusted"), (root, "trust-invalid")):
            data = repo.sign(payload, trust.PAYLOAD_TYPE, signers).encode()
            files = honest.files | {repo.trust_path(2): data}
            booted = Machine(honest.anchor).boot(files, repo.list_path(1))
            assert booted.refusals == (code,)


# Thresholds, roles, revoking


def test_a_new_version_needs_the_old_threshold_and_its_own() -> None:
    made = Repository(members(2, 3))
    old, new = made.members["root"][0], people(3)
    nxt = repo.trust_of(made.members | {"root": (new, 2)}, version=2)
    current = made.newest

    def verdict(signers: list[repo.Person]) -> str:
        try:
            trust.advance(current, repo.sign_trust(nxt, signers), subject="t")
        except BootunionError as error:
            return error.code
        return "believed"

    assert verdict([*old[:2], *new[1:]]) == "believed"
    assert verdict([*old[:1], *new]) == "signature-untrusted"
    assert verdict([*old, *new[:1]]) == "signature-untrusted"
    assert verdict([old[0], old[0], *new]) == "signature-untrusted"
    assert verdict([*made.members["list"][0], old[0], *new]) == "signature-untrusted"
    assert verdict([*people(5), *new]) == "signature-untrusted"


def test_an_anchor_that_its_own_root_role_did_not_sign_is_refused() -> None:
    group = members(2, 2)
    draft = repo.sign_trust(repo.trust_of(group), group["root"][0][:1])
    assert code_of(trust.decode_anchor, draft, subject="t") == "signature-untrusted"
    foreign = repo.sign(repo.trust_of(group).encode(), systemlist.PAYLOAD_TYPE, group["root"][0])
    assert code_of(trust.decode_anchor, foreign.encode(), subject="t") == "envelope-invalid"


@pytest.mark.parametrize("signed_by", ["root", "package"])
def test_a_list_signed_by_keys_of_another_role_is_refused(
    honest: Repository, signed_by: str
) -> None:
    path = honest.publish_list(repo.system(2), honest.members[signed_by][0])
    assert code_of(Machine(honest.anchor).boot, honest.files, path) == "signature-untrusted"


def test_a_signature_over_one_kind_is_none_over_another(honest: Repository) -> None:
    signers = honest.members["list"][0]
    as_manifest = repo.sign(repo.system(2).encode(), manifest.PAYLOAD_TYPE, signers)
    relabelled = as_manifest._replace(payload_type=systemlist.PAYLOAD_TYPE)
    for envelope, code in (
        (as_manifest, "envelope-invalid"), (relabelled, "signature-invalid"),
    ):  # fmt: skip
        files = honest.files | {repo.list_path(2): envelope.encode()}
        assert code_of(Machine(honest.anchor).boot, files, repo.list_path(2)) == code


def test_one_stolen_list_key_of_two_signs_nothing() -> None:
    made = Repository(members(lists=2, lists_of=3))
    stolen = made.members["list"][0][0]
    path = made.publish_list(repo.system(1), [stolen])
    assert code_of(Machine(made.anchor).boot, made.files, path) == "signature-untrusted"
    envelope = dsse.decode(made.files[path], subject="x")
    twice = envelope._replace(signatures=envelope.signatures * 2)
    named = envelope.signatures[0]._replace(key_id=made.members["list"][0][1].key_id)
    renamed = envelope._replace(signatures=(*envelope.signatures, named))
    for forged, code in ((twice, "signature-untrusted"), (renamed, "signature-invalid")):
        files = made.files | {path: forged.encode()}
        assert code_of(Machine(made.anchor).boot, files, path) == code


def another_signature(one: repo.Person, payload: bytes, kind: str) -> dsse.Signature:
    """A valid signature that differs from the usual one: whoever has the key chooses the nonce."""
    from cryptography.hazmat.primitives import serialization

    form = (serialization.Encoding.Raw, serialization.PrivateFormat.Raw)
    key = serialization.load_pem_private_key(one.private, None)
    seed = key.private_bytes(*form, serialization.NoEncryption())
    low = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    secret = low & ((1 << 254) - 8) | 1 << 254  # RFC 8032 §5.1.5
    message = dsse.pre_authentication(kind, payload)
    r = edwards.encode(edwards.multiply(12345, edwards.BASE))
    k = edwards.challenge(r, one.public, message)
    scalar = (12345 + k * secret) % edwards.ORDER
    return dsse.Signature(one.key_id, r + scalar.to_bytes(32, "little"))


def test_two_different_signatures_by_one_key_count_once() -> None:
    made = Repository(members(lists=2, lists_of=2))
    stolen, other = made.members["list"][0]
    path = made.publish_list(repo.system(1), [stolen])
    envelope = dsse.decode(made.files[path], subject="x")
    second = another_signature(stolen, envelope.payload, envelope.payload_type)
    assert second not in envelope.signatures
    both = envelope._replace(signatures=(*envelope.signatures, second))
    files = made.files | {path: both.encode()}
    assert code_of(Machine(made.anchor).boot, files, path) == "signature-untrusted"
    # It is a right one: with the other key's it is enough.
    third = repo.sign(envelope.payload, envelope.payload_type, [other]).signatures
    files = made.files | {path: envelope._replace(signatures=(second, *third)).encode()}
    Machine(made.anchor).boot(files, path)


def test_a_damaged_signature_refuses_the_envelope_wherever_it_stands() -> None:
    made = Repository(members(lists=2, lists_of=3))
    path = made.publish_list(repo.system(1))
    good = dsse.decode(made.files[path], subject="x").signatures
    bad = good[0]._replace(value=bytes([good[0].value[0] ^ 1]) + good[0].value[1:])
    stranger = dsse.Signature("ab" * 32, bytes(64))
    for signatures, code in (
        ((bad, *good), "signature-invalid"),
        ((*good, bad), "signature-invalid"),
        ((*good, stranger), ""),
    ):
        envelope = dsse.decode(made.files[path], subject="x")._replace(signatures=signatures)
        files = made.files | {path: envelope.encode()}
        if code:
            assert code_of(Machine(made.anchor).boot, files, path) == code
        else:
            Machine(made.anchor).boot(files, path)


def test_a_revoked_key_does_not_count_even_when_a_role_names_it(honest: Repository) -> None:
    old = honest.members["list"][0]
    machine = Machine(honest.anchor)
    machine.boot(honest.files, repo.list_path(1))
    honest.change(honest.members, revoke=old)
    with pytest.raises(BootunionError) as caught:
        machine.boot(honest.files, repo.list_path(1))
    assert caught.value.code == "signature-untrusted"
    assert f"{old[0].key_id[:16]} is revoked" in caught.value.message
    honest.change(honest.members | {"list": ([*old, person()], 1)})
    honest.publish_list(repo.system(2))  # by the revoked key, too
    assert machine.boot(honest.files, repo.list_path(2)).trust.version == 3


def test_a_damaged_signature_by_a_revoked_key_is_not_looked_at(honest: Repository) -> None:
    old, new = honest.members["list"][0], people(1)
    honest.change(honest.members | {"list": (new, 1)}, revoke=old)
    path = honest.publish_list(repo.system(2))
    envelope = dsse.decode(honest.files[path], subject="x")
    junk = dsse.Signature(old[0].key_id, bytes(64))
    files = honest.files | {
        path: envelope._replace(signatures=(junk, *envelope.signatures)).encode()
    }
    Machine(honest.anchor).boot(files, path)


def test_a_revoked_root_key_signs_no_version_but_the_one_that_revokes_it() -> None:
    made = Repository(members(1, 2))
    made.publish_list(repo.system(1))
    stolen, kept = made.members["root"][0]
    made.change(made.members, revoke=[stolen])
    evil = repo.trust_of(made.members, version=3, revoked=made.newest.revoked)
    for signer, code in ((stolen, "signature-untrusted"), (kept, "")):
        data = repo.sign_trust(evil, [signer])
        if code:
            assert code_of(trust.advance, made.newest, data, subject="t") == code
        else:
            assert trust.advance(made.newest, data, subject="t") == evil
    alone = repo.trust_of(made.members, version=2, revoked=(stolen.key_id,))
    by_stolen = repo.sign_trust(alone, [stolen])
    assert code_of(trust.advance, made.trusts[1], by_stolen, subject="t") == "signature-untrusted"


def test_revoking_is_for_ever(honest: Repository) -> None:
    honest.change(honest.members | {"list": (people(1), 1)}, revoke=honest.members["list"][0])
    back = repo.trust_of(honest.members, version=3)
    data = repo.sign_trust(back, honest.members["root"][0])
    assert code_of(trust.advance, honest.newest, data, subject="t") == "trust-invalid"


# The form


def test_a_root_key_has_no_other_role() -> None:
    group = members()
    for role in ("list", "package"):
        shared = group | {role: group["root"]}
        payload = repo.trust_of(shared).encode()
        assert code_of(trust.decode, payload, subject="t") == "trust-invalid"
    trust.decode(repo.trust_of(group | {"package": group["list"]}).encode(), subject="t")


@pytest.mark.parametrize(
    "change",
    [{"schema": 1}, {"version": 0}, {"version": True}, {"expires": -1}, {"extra": 1},
     {"revoked": ["zz"]}, {"keys": []}, {"roles": {}}],
    ids=str,
)  # fmt: skip
def test_an_impossible_trust_store_is_refused(change: dict[str, object]) -> None:
    raw = json.loads(repo.trust_of(members()).encode()) | change
    assert code_of(trust.decode, canonical.encode(raw), subject="t") == "trust-invalid"


@pytest.mark.parametrize("change", ["twice", "threshold", "unknown"])
def test_an_impossible_role_is_refused(change: str) -> None:
    raw = json.loads(repo.trust_of(members()).encode())
    role = raw["roles"]["list"]
    if change == "twice":
        role["keys"] *= 2
    elif change == "threshold":
        role["threshold"] = 2
    else:
        role["keys"] = ["ab" * 32]
    assert code_of(trust.decode, canonical.encode(raw), subject="t") == "trust-invalid"


# RFC 8032 §7.1: the public keys of its first test and of "TEST SHA(abc)".
@pytest.mark.parametrize(
    "public",
    ["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
     "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf"],
)  # fmt: skip
@pytest.mark.parametrize("role", ["root", "list", "package"])
def test_a_key_whose_private_half_is_published_is_refused(public: str, role: str) -> None:
    known = repo.Person(b"", bytes.fromhex(public))
    payload = repo.trust_of(members() | {role: ([known], 1)}).encode()  # type: ignore[operator]
    assert code_of(trust.decode, payload, subject="t") == "key-published"


def test_seeds_that_anybody_tries_first_are_published() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    raw = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    for seed in (bytes(32), bytes(range(32)), b"\xff" * 32, b"\x42" * 32):
        public = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(*raw)
        assert published.source(signature.key_id(public))
    assert not published.source(person().key_id)


# Several places


def test_a_right_copy_elsewhere_helps_against_a_damaged_one_and_the_damage_is_told(
    honest: Repository,
) -> None:
    honest.change(honest.members)
    good = honest.files[repo.trust_path(2)]

    def missing(version: int) -> bytes:
        raise BootunionError("file-missing", "is not in the store", subject=str(version))

    chain = trust.load(
        honest.anchor, [missing, {2: b"junk"}.get, {2: good}.get], seen=honest.newest.seen, now=0,
        subject="t",
    )  # fmt: skip
    assert (chain.trust, [one.code for one in chain.refusals]) == (
        honest.newest, ["envelope-invalid"],
    )  # fmt: skip


# The agent


_FAKE_ROOT = """
mount -t tmpfs none "$1/disk" && cp -a "$1/store/." "$1/disk" || exit 9
mount --bind "$1/disk" "$1/sysroot" || exit 9
"$2" -m bootunion.initrd --keep-running --kmsg "$1/kmsg" --sysroot "$1/sysroot" --run "$1/run" \
    --trust "$1/trust" --cmdline "$1/cmdline"
status=$?
cp -a "$1/disk/." "$1/store"
exit $status
"""


def agent(directory: Path, anchor: bytes, files: dict[str, bytes]) -> dict[str, Any]:
    """What the agent reports when it boots list 1 of a store, on a file system of its own."""
    for name in ("disk", "sysroot"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    for path, data in (files | {"../trust/trust.json": anchor}).items():
        target = directory / "store" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    (directory / "cmdline").write_text(f"bootunion={repo.NAME} bootunion.generation=1")
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", _FAKE_ROOT, "sh", directory,
         sys.executable], capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    report: dict[str, Any] = json.loads((directory / "run/bootunion/boot.json").read_text())
    return report


def refusals(report: dict[str, Any]) -> set[tuple[str, str]]:
    found = [report["error"], *report["refused"]]
    return {(one["subject"].rpartition("/")[2], one["code"]) for one in found}


def test_the_agent_believes_a_signed_anchor_and_no_other(tmp_path: Path) -> None:
    made = Repository(members(root=2, of=2))
    foreign = repo.system(1)._replace(architecture="riscv64")  # read, believed, and not for here
    made.publish_list(foreign)
    unsigned = repo.sign_trust(made.newest, made.members["root"][0][:1])
    other = Repository(members())
    found = {
        name: refusals(agent(tmp_path / name, anchor, made.files))
        for name, anchor in {
            "right": made.anchor, "half-signed": unsigned, "empty": b"{}", "other": other.anchor,
        }.items()
    }  # fmt: skip
    assert found == {
        "right": {(f"list {repo.NAME} generation 1", "architecture-mismatch")},
        "half-signed": {("trust.json", "signature-untrusted")},
        "empty": {("trust.json", "envelope-invalid")},
        "other": {("1.json", "signature-untrusted")},
    }


def test_the_agent_follows_the_store_s_versions_and_remembers(tmp_path: Path) -> None:
    made = Repository(members())
    made.publish_list(repo.system(1)._replace(architecture="riscv64"))
    made.change(made.members | {"list": (people(1), 1)}, revoke=made.members["list"][0])
    made.files[repo.trust_path(3)] = b"{}"
    report = agent(tmp_path, made.anchor, made.files)
    assert report["trust"] == 2
    assert [one["code"] for one in report["warnings"]] == ["envelope-invalid"]
    assert refusals(report) == {("1.json", "signature-untrusted")}
    (tmp_path / "store" / repo.trust_path(2)).unlink()
    kept = {path: data for path, data in made.files.items() if path != repo.trust_path(2)}
    assert refusals(agent(tmp_path, made.anchor, kept)) == {("trust store", "trust-rolled-back")}
