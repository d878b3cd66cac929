"""`bootunion keygen`, `sign` and `trust`: what a person does with keys, from the command line."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import edwards
import pytest
import repository as repo

from bootunion import dsse, signature, systemlist, trust
from bootunion.errors import BootunionError
from bootunion.host import signing, trustkeeping
from bootunion.host.signing import Signer

BOOTUNION = Path(sys.executable).parent / "bootunion"


def run(*argv: object, status: int = 0) -> str:
    done = subprocess.run([BOOTUNION, *map(str, argv)], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def change(keys: Path, *argv: object, status: int = 0) -> str:
    return run("trust", "edit", "--trust", keys / "trust", *argv, status=status)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    signing.generate(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    signing.generate(tmp_path / "other")
    return tmp_path / "other"


def ident(path: Path) -> str:
    return signature.key_id(signature.public_from_pem(path.read_text(), subject="k"))


def test_keygen_makes_a_store_that_its_root_key_signed(tmp_path: Path) -> None:
    made = json.loads(run("keygen", tmp_path / "k", "--json"))
    assert {Path(path).name for path in made} == {
        *(f"{role}.{kind}" for role in ("root", "list", "package") for kind in ("key", "pub")),
        "1.json", "trust.json",
    }  # fmt: skip
    found = signing.read_trust(tmp_path / "k/trust")
    assert found.version == 1
    assert found.counting("root") == (ident(tmp_path / "k/root.pub"),)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "k").glob("*.key")} == {0o600}
    assert "[exists]" in run("keygen", tmp_path / "k", status=3)


def test_keys_that_could_not_be_finished_are_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Signer, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        signing.generate(tmp_path / "k")
    assert not [path for path in (tmp_path / "k").rglob("*") if path.is_file()]


def test_a_list_key_is_rotated_and_machines_with_the_old_anchor_follow(
    own: Path, other: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    old = (own / "trust/trust.json").read_bytes()
    said = change(own, "--add-key", f"list={other / 'list.pub'}", "--revoke", own / "list.pub",
                  "--key", own / "root.key")  # fmt: skip
    assert "version 2 is the newest" in said
    run("trust", "publish", "--trust", own / "trust", "--store", store)
    (tmp_path / "old").mkdir()
    (tmp_path / "old/trust.json").write_bytes(old)
    found = signing.read_trust(tmp_path / "old", store)
    assert found.counting("list") == (ident(other / "list.pub"),)
    assert found.revoked == (ident(own / "list.pub"),)
    shown = json.loads(run("trust", "verify", "--trust", tmp_path / "old", "--store", store,
                           "--json"))  # fmt: skip
    assert (shown["version"], shown["refusals"]) == (2, [])
    assert json.loads(run("trust", "show", "--trust", own / "trust", "--json"))["draft"] is None


def test_several_root_signers_pass_a_draft_around(own: Path, other: Path) -> None:
    root = (own / "root.key", other / "root.key")
    change(own, "--add-key", f"root={other / 'root.pub'}", "--threshold", "root=2", "--key",
           root[0])  # fmt: skip
    shown = json.loads(run("trust", "show", "--trust", own / "trust", "--json"))
    assert shown["version"] == 1
    votes = [(one["version"], len(one["signed"]), one["threshold"])
             for one in shown["draft"]["signatures"]]  # fmt: skip
    assert votes == [(1, 1, 1), (2, 1, 2)]
    assert shown["draft"]["differences"] == [
        f"root: key {ident(other / 'root.pub')[:16]} is added", "root: threshold 1 becomes 2",
    ]  # fmt: skip
    run("sign", own / "trust/draft.json", "--key", root[1])
    assert signing.read_trust(own / "trust").version == 1
    assert "version 2 is the newest" in run("trust", "sign", "--trust", own / "trust")
    assert not (own / "trust/draft.json").exists()
    # From now on one of them is not enough.
    said = change(own, "--expires", "2030-01-01", "--key", root[0])
    assert "draft of version 3" in said
    said = run("trust", "sign", "--trust", own / "trust", "--key", root[1])
    assert "version 3 is the newest" in said
    assert signing.read_trust(own / "trust").expires == 1893456000


def test_a_further_edit_of_a_draft_drops_its_signatures(own: Path, other: Path) -> None:
    change(own, "--add-key", f"root={other / 'root.pub'}", "--threshold", "root=2", "--key",
           own / "root.key")  # fmt: skip
    change(own, "--add-key", f"list={other / 'list.pub'}")
    draft = dsse.decode((own / "trust/draft.json").read_bytes(), subject="d")
    assert draft.signatures == ()
    made = trust.decode(draft.payload, subject="d")
    assert (made.version, len(made.roles["list"].key_ids)) == (2, 2)


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--threshold", "list=2"], "fewer keys than its threshold"),
        (["--revoke", "{own}/list.pub"], "fewer keys than its threshold"),
        (["--remove-key", "package={own}/package.pub"], "fewer keys than its threshold"),
        (["--add-key", "list={own}/root.pub"], "shares a key with the root role"),
        (["--add-key", "list={own}/root.key"], "no PEM public key"),
        (["--add-key", "list={own}/off.pub"], "is no point of the curve"),
        (["--add-key", "boss={other}/root.pub"], "is not ROLE="),
        (["--threshold", "list=x"], "is not a number"),
        (["--expires", "soon"], "neither YYYY-MM-DD nor never"),
        (["--revoke", "abc"], "neither a public key file nor"),
        ([], "nothing to change"),
    ],
    ids=str,
)
def test_an_impossible_edit_is_one_sentence_and_changes_nothing(
    own: Path, other: Path, argv: list[str], words: str
) -> None:
    off = next(y for y in range(2, 99) if edwards.x_of(y) is None).to_bytes(32, "little")
    (own / "off.pub").write_text(signature.public_to_pem(off))
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file()}
    filled = [one.format(own=own, other=other) for one in argv]
    done = subprocess.run([BOOTUNION, "trust", "edit", "--trust", own / "trust", *filled],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode in (2, 3)
    assert words in done.stderr
    assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file()} == before


def test_a_revoked_key_can_not_be_added_again(own: Path, other: Path) -> None:
    change(own, "--add-key", f"list={other / 'list.pub'}", "--revoke", own / "list.pub", "--key",
           own / "root.key")  # fmt: skip
    assert "for ever" in change(own, "--add-key", f"list={own / 'list.pub'}", status=3)


def test_a_role_that_only_revoked_keys_would_hold_up_is_refused(own: Path) -> None:
    still = trustkeeping.newest(own / "trust")
    named = still._replace(version=2, revoked=still.roles["list"].key_ids)
    root = Signer(own / "root.key")
    (own / "trust/2.json").write_bytes(root(named.encode(), trust.PAYLOAD_TYPE))
    assert "would have 0" in change(own, "--expires", "never", status=3)


def test_publishing_never_replaces_another_version(own: Path, other: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run("trust", "publish", "--trust", other / "trust", "--store", store)
    before = (store / "trust/1.json").read_bytes()
    change(own, "--expires", "2030-01-01", "--key", own / "root.key")
    publish = ("trust", "publish", "--trust", own / "trust", "--store", store)
    assert "[exists]" in run(*publish, status=3)
    assert [path.name for path in (store / "trust").iterdir()] == ["1.json"]
    assert (store / "trust/1.json").read_bytes() == before


def test_a_gap_between_the_versions_is_not_published(own: Path, tmp_path: Path) -> None:
    for date in ("2030-01-01", "2031-01-01"):
        change(own, "--expires", date, "--key", own / "root.key")
    (own / "trust/2.json").unlink()
    publish = ("trust", "publish", "--trust", own / "trust", "--store", tmp_path / "store")
    assert "version 2 is missing" in run(*publish, status=4)
    assert not (tmp_path / "store").exists()


def test_a_power_cut_while_a_version_is_finished_loses_nothing(own: Path) -> None:
    anchor = (own / "trust/trust.json").read_bytes()
    change(own, "--expires", "2030-01-01", "--key", own / "root.key")
    draft = (own / "trust/2.json").read_bytes()
    # As it lies on the disk before trust.json was replaced and the draft removed.
    (own / "trust/trust.json").write_bytes(anchor)
    (own / "trust/draft.json").write_bytes(draft)
    assert signing.read_trust(own / "trust").version == 2
    change(own, "--expires", "2031-01-01", "--key", own / "root.key")
    assert signing.read_trust(own / "trust").version == 3


def test_an_expired_store_can_still_be_renewed(own: Path) -> None:
    change(own, "--expires", "2001-01-01", "--key", own / "root.key")
    with pytest.raises(BootunionError) as caught:
        signing.read_trust(own / "trust")
    assert caught.value.code == "trust-expired"
    change(own, "--expires", "never", "--key", own / "root.key")
    assert signing.read_trust(own / "trust").version == 3


def test_a_damaged_version_in_the_store_is_refused_on_the_host(own: Path, tmp_path: Path) -> None:
    (tmp_path / "store/trust").mkdir(parents=True)
    (tmp_path / "store/trust/2.json").write_text("{}")
    with pytest.raises(BootunionError) as caught:
        signing.read_trust(own / "trust", tmp_path / "store")
    assert caught.value.code == "envelope-invalid"
    argv = ("trust", "verify", "--trust", own / "trust", "--store", tmp_path / "store")
    assert "[envelope-invalid]" in run(*argv, status=4)


def test_a_lost_trust_store_is_replaced_by_one_with_a_higher_number(tmp_path: Path) -> None:
    run("keygen", tmp_path / "k", "--trust-version", 40)
    data = (tmp_path / "k/trust/trust.json").read_bytes()
    assert (tmp_path / "k/trust/40.json").read_bytes() == data
    chain = trust.load(data, [], seen=trust.Seen(39, "ab" * 32), now=0, subject="t")
    assert chain.trust.version == 40


# Private keys


def test_signing_by_a_program_signs_versions_and_lists(own: Path, tmp_path: Path) -> None:
    script = tmp_path / "hsm"
    script.write_text(
        f"#!/bin/sh\ncat > {tmp_path}/message\n"
        f"exec openssl pkeyutl -sign -inkey $1 -rawin -in {tmp_path}/message\n"
    )
    script.chmod(0o755)
    change(own, "--expires", "2030-01-01", "--key", own / "root.pub", "--sign-command",
           f"{script} {own / 'root.key'}")  # fmt: skip
    assert signing.read_trust(own / "trust").version == 2
    envelope = dsse.Envelope(systemlist.PAYLOAD_TYPE, repo.system(1).encode(), ())
    (tmp_path / "1.json").write_bytes(envelope.encode())
    run("sign", tmp_path / "1.json", "--key", own / "list.pub", "--sign-command",
        f"{script} {own / 'list.key'}")  # fmt: skip
    done = dsse.decode((tmp_path / "1.json").read_bytes(), subject="x")
    trust.open_envelope(signing.read_trust(own / "trust"), "list", done, subject="x")
    wrong = ("--sign-command", f"{script} {own / 'package.key'}")
    assert "[signature-invalid]" in run("sign", tmp_path / "1.json", "--key", own / "list.pub",
                                        *wrong, status=4)  # fmt: skip


@pytest.mark.parametrize("form", ["pkcs8", "traditional"])
def test_an_encrypted_private_key_is_refused_clearly(own: Path, tmp_path: Path, form: str) -> None:
    locked = tmp_path / "locked.key"
    if form == "pkcs8":
        argv = ["openssl", "pkcs8", "-topk8", "-in", own / "root.key", "-out", locked, "-passout",
                "pass:x"]  # fmt: skip
    else:
        argv = ["openssl", "genrsa", "-traditional", "-aes128", "-passout", "pass:x", "-out",
                locked, "1024"]  # fmt: skip
    subprocess.run(argv, check=True, capture_output=True)
    locked.chmod(0o600)
    said = change(own, "--expires", "2030-01-01", "--key", locked, status=3)
    assert "the private key is encrypted" in said
    assert "[key-encrypted]" in said
    assert not (own / "trust/draft.json").exists()


def test_a_private_key_that_others_can_read_is_warned_of_once(
    own: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (own / "list.key").chmod(0o640)
    signer = Signer(own / "list.key")
    signer.sign(b"a")
    signer.sign(b"b")
    assert capfd.readouterr().err.count("is open to others (mode 0640)") == 1
    Signer(own / "package.key")
    Signer(own / "list.pub", "hsm")  # a public key may be open
    assert capfd.readouterr().err == ""


def test_nothing_can_switch_the_refusal_of_published_keys_off() -> None:
    """One place asks, always; no reader of a trust store has a parameter about it."""
    top = Path(trust.__file__).parent
    users = [path.name for path in top.rglob("*.py") if "published.source(" in path.read_text()]
    assert users == ["trust.py"]
    parameters = {
        name: list(inspect.signature(getattr(trust, name)).parameters)
        for name in ("decode", "decode_anchor", "advance", "load")
    }
    assert parameters == {
        "decode": ["payload", "subject"],
        "decode_anchor": ["data", "subject"],
        "advance": ["current", "data", "subject"],
        "load": ["anchor", "readers", "seen", "now", "subject"],
    }
