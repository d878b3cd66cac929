"""Keeping a trust store: the next version as a draft, its signatures, and handing it to stores.

A directory holds `trust.json` (the newest version, the anchor of the next initramfs), each version
as `<version>.json`, and `draft.json` while the next one still lacks signatures. The draft is an
ordinary envelope, so that a signer elsewhere can sign it with `bootunion sign`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bootunion import dsse, signature, trust
from bootunion.dsse import Envelope
from bootunion.errors import BootunionError
from bootunion.initrd.store import Store as Reader
from bootunion.trust import Role, Trust

from . import signing
from .signing import Signer
from .store import write_atomic

DRAFT = "draft.json"


class Change(NamedTuple):
    """What the next version changes: (role, public key), (role, key id), key ids, (role, number).

    `expires` None leaves it as it is.
    """

    add: tuple[tuple[str, bytes], ...] = ()
    remove: tuple[tuple[str, str], ...] = ()
    revoke: tuple[str, ...] = ()
    thresholds: tuple[tuple[str, int], ...] = ()
    expires: int | None = None


class Draft(NamedTuple):
    """The next version, not believed by anybody yet."""

    trust: Trust
    envelope: Envelope


class Votes(NamedTuple):
    """Who of a root role has signed a draft: `version` says whose root role it is."""

    version: int
    signed: tuple[str, ...]
    waiting: tuple[str, ...]
    threshold: int


def newest(directory: Path) -> Trust:
    """The newest version in `directory`, expired or not. Raises BootunionError."""
    anchor = trust.decode_anchor(
        _read(directory, trust.FILE_NAME), subject=str(directory / trust.FILE_NAME)
    )
    found = trust.follow(anchor, [signing.version_reader(directory)])
    for refusal in found.refusals:
        raise refusal
    return found.trust


def draft(directory: Path, current: Trust) -> Draft | None:
    """The draft of the version after `current`, if there is one."""
    try:
        data = _read(directory, DRAFT)
    except BootunionError as error:
        if error.code == "file-missing":
            return None
        raise
    envelope = dsse.decode(data, subject=DRAFT)
    dsse.check_type(envelope, trust.PAYLOAD_TYPE, subject=DRAFT)
    found = trust.decode(envelope.payload, subject=DRAFT)
    # One that was finished when the power went is left over; it is the current version already.
    return Draft(found, envelope) if found.version == current.version + 1 else None


def edit(
    directory: Path, change: Change, signers: Iterable[Signer] = ()
) -> tuple[Trust, Draft, bool]:
    """Put `change` into the draft, which is begun when there is none, and sign it.

    Earlier signatures on the draft are gone. Gives what `sign` gives. Raises BootunionError, and
    trust-invalid when a role could not reach its threshold any more; then all is as it was.
    """
    current = newest(directory)
    begun = draft(directory, current)
    base = begun.trust if begun else current._replace(version=current.version + 1)
    payload = _changed(base, change).encode()
    made = trust.decode(payload, subject=DRAFT)
    for name, role in made.roles.items():
        if len(made.counting(name)) < role.threshold:
            text = (f"the role {name} needs {role.threshold} key(s) and would have "
                    f"{len(made.counting(name))}: add one in the same step")  # fmt: skip
            raise BootunionError("trust-invalid", text, subject=DRAFT)
    found = Draft(made, Envelope(trust.PAYLOAD_TYPE, payload, ()))
    return _signed(directory, current, found, signers)


def _changed(base: Trust, change: Change) -> Trust:
    keys = dict(base.keys)
    roles = dict(base.roles)
    for name, public in change.add:
        key_id = signature.key_id(public)
        if key_id in base.revoked:
            text = f"the key {key_id[:16]} is revoked, which is for ever: make a new one"
            raise BootunionError("trust-invalid", text, subject=name)
        keys[key_id] = public
        members = tuple(one for one in roles[name].key_ids if one != key_id)
        roles[name] = Role((*members, key_id), roles[name].threshold)
    gone = {*change.remove, *((name, one) for name in roles for one in change.revoke)}
    for name, role in roles.items():
        left = tuple(one for one in role.key_ids if (name, one) not in gone)
        roles[name] = Role(left, dict(change.thresholds).get(name, role.threshold))
    named = {one for role in roles.values() for one in role.key_ids}
    return base._replace(
        keys={one: public for one, public in keys.items() if one in named},
        roles=roles,
        revoked=tuple(sorted({*base.revoked, *change.revoke})),
        expires=base.expires if change.expires is None else change.expires,
    )


def find_key(known: Iterable[str], text: str) -> str:
    """The key id that `text` means: a public key file, a whole id, or at least 8 digits of one.

    Raises BootunionError key-invalid when it means none of `known` or more than one.
    """
    path = Path(text)
    if path.is_file():
        pem = signing.read_key(path).decode(errors="replace")
        return signature.key_id(signature.public_from_pem(pem, subject=text))
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text
    found = [one for one in known if one.startswith(text)] if len(text) >= 8 else []
    if len(found) != 1:
        what = "is neither a public key file nor the beginning (8 digits or more) of a known key id"
        raise BootunionError("key-invalid", what, subject=text)
    return found[0]


def sign(directory: Path, signers: Iterable[Signer]) -> tuple[Trust, Draft, bool]:
    """Sign the draft; when it has all that it needs, it becomes the newest version.

    Gives the version before, the draft, and whether it became one. Raises BootunionError.
    """
    current = newest(directory)
    found = draft(directory, current)
    if found is None:
        text = "there is no draft: make one with `bootunion trust edit`"
        raise BootunionError("file-missing", text, subject=str(directory / DRAFT))
    return _signed(directory, current, found, signers)


def _signed(
    directory: Path, current: Trust, found: Draft, signers: Iterable[Signer]
) -> tuple[Trust, Draft, bool]:
    envelope = found.envelope
    for signer in signers:
        envelope = signing.add_signature(envelope, signer)
    data = envelope.encode()
    found = found._replace(envelope=envelope)
    try:
        trust.advance(current, data, subject=DRAFT)
    except BootunionError as error:
        if error.code == "signature-untrusted":
            write_atomic(directory / DRAFT, data)
            return current, found, False
        raise
    # In this order: with a power cut in between, the version is found beside the anchor.
    write_atomic(directory / f"{found.trust.version}.json", data)
    write_atomic(directory / trust.FILE_NAME, data)
    (directory / DRAFT).unlink(missing_ok=True)
    return current, found, True


def votes(current: Trust, found: Draft) -> tuple[Votes, ...]:
    """The signatures that the draft has and needs, by the root role before and by its own."""
    result = []
    for one in (current, found.trust):
        signed = trust.signers(one, trust.ROLE_ROOT, found.envelope, subject=DRAFT)
        waiting = tuple(key for key in one.counting(trust.ROLE_ROOT) if key not in signed)
        threshold = one.roles[trust.ROLE_ROOT].threshold
        result.append(Votes(one.version, signed, waiting, threshold))
    return tuple(result)


def differences(old: Trust, new: Trust) -> list[str]:
    """What `new` changes, a sentence each: what a signer should read before signing."""
    said = []
    for name, role in new.roles.items():
        before = old.roles[name]
        said += [f"{name}: key {one[:16]} is added"
                 for one in role.key_ids if one not in before.key_ids]  # fmt: skip
        said += [f"{name}: key {one[:16]} is taken away"
                 for one in before.key_ids if one not in role.key_ids]  # fmt: skip
        if role.threshold != before.threshold:
            said.append(f"{name}: threshold {before.threshold} becomes {role.threshold}")
    said += [f"key {one[:16]} is revoked" for one in new.revoked if one not in old.revoked]
    if new.expires != old.expires:
        said.append(f"expiry {old.expires or 'never'} becomes {new.expires or 'never'}")
    return said


def publish(directory: Path, store: Path) -> list[Path]:
    """Put all versions of `directory` into a store's `trust/`, oldest first; what is new is given.

    The chain is checked before, and that no version would replace another one of its number.
    Raises BootunionError, also `exists`; then nothing was written.
    """
    current = newest(directory)
    numbers = sorted(int(path.stem) for path in directory.glob("*.json") if path.stem.isdigit())
    data = {number: _read(directory, f"{number}.json") for number in numbers}
    if numbers:
        first = trust.decode_anchor(data[numbers[0]], subject=f"{numbers[0]}.json")
        chain = trust.follow(first, [data.get])
        for refusal in chain.refusals:
            raise refusal
        if chain.trust.version != current.version:
            text = f"version {chain.trust.version + 1} is missing between the versions"
            raise BootunionError("trust-misplaced", text, subject=str(directory))
    target = store / trust.DIRECTORY
    new = []
    for number in numbers:
        path = target / f"{number}.json"
        if not path.exists():
            new.append((path, data[number]))
        elif path.read_bytes() != data[number]:
            text = "another version of this number is in the store"
            raise BootunionError("exists", text, subject=str(path))
    target.mkdir(parents=True, exist_ok=True)
    for path, content in new:
        write_atomic(path, content)
    return [path for path, _ in new]


def _read(directory: Path, name: str) -> bytes:
    with Reader(str(directory)) as reader:
        return reader.read(name, limit=trust.MAX_SIZE)
