"""The trust store: looking at it, and making, signing and publishing its next version."""

from __future__ import annotations

import datetime
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bootunion import trust
from bootunion.codes import EXIT_UNTRUSTED
from bootunion.errors import BootunionError
from bootunion.host import console
from bootunion.host.signing import Signer

from .options import FILE, json_option, store_option, trust_option

if TYPE_CHECKING:
    from bootunion.host.trustkeeping import Change, Draft

_KEY = click.option(
    "--key", "keys", type=FILE, multiple=True,
    help="Root key that signs (PEM); again for each. Public with --sign-command.",
)  # fmt: skip
_COMMAND = click.option("--sign-command", default="", metavar="COMMAND", help="Program that signs.")


@click.group(name="trust")
def trust_group() -> None:
    """The trust store: who may sign what, and its next version.

    \b
    Each version is signed by the root keys of the one before it and by its own:
      bootunion trust edit --trust keys/trust --add-key list=new.pub --key keys/root.key
      bootunion trust publish --trust keys/trust --store store
    A machine then follows the versions in its store from the one in its initramfs.
    With several root keys, `edit` begins a draft and each signer adds a signature:
      bootunion trust sign --trust keys/trust --key root2.key
    docs/trust.md explains rotating, revoking, and what to do when a key is lost or stolen.
    """


@trust_group.command()
@trust_option
@json_option
def show(trust_path: Path, as_json: bool) -> None:
    """Show the newest version and, if there is one, the draft of the next."""
    from bootunion.host import trustkeeping

    current = trustkeeping.newest(trust_path)
    found = trustkeeping.draft(trust_path, current)
    if as_json:
        shown = None if found is None else _draft_json(current, found)
        console.show_json({**_trust_json(current), "draft": shown})
        return
    expiry = _date(current.expires)
    print(f"version {current.version}, expires: {expiry}, revoked keys: {len(current.revoked)}")
    rows = [
        (name, f"{role.threshold} of {len(current.counting(name))}", key_id)
        for name, role in current.roles.items()
        for key_id in current.counting(name)
    ]
    rows += [("revoked", "", key_id) for key_id in current.revoked]
    console.show_table("Keys", ("role", "threshold", "key id"), rows)
    if found is not None:
        _show_draft(current, found)


@trust_group.command()
@trust_option
@click.option("--store", "store_path", type=click.Path(path_type=Path, file_okay=False),
              default=None, help="Follow this store's versions, as a machine does.")  # fmt: skip
@click.option("--at-least", type=click.IntRange(0), default=0, metavar="VERSION",
              help="The highest version that the machine remembers.")  # fmt: skip
@json_option
def verify(trust_path: Path, store_path: Path | None, at_least: int, as_json: bool) -> None:
    """Say what a machine with this trust.json would believe, by the agent's own rules.

    Ends with 4 when a version is refused, also where a machine would step over it.
    """
    from bootunion.host import signing

    anchor = signing.read_key(trust_path / trust.FILE_NAME)
    where = trust_path if store_path is None else store_path / trust.DIRECTORY
    found = trust.load(
        anchor, [signing.version_reader(where)], seen=trust.Seen(at_least), now=int(time.time()),
        subject=str(trust_path / trust.FILE_NAME),
    )  # fmt: skip
    if as_json:
        refused = [one.as_json() for one in found.refusals]
        console.show_json({**_trust_json(found.trust), "refusals": refused})
    else:
        print(f"version {found.trust.version} is believed")
        for one in found.refusals:
            print(f"bootunion: {one} [{one.code}]\n  {one.way_out}", file=sys.stderr)
    if found.refusals:
        sys.exit(EXIT_UNTRUSTED)


@trust_group.command()
@trust_option
@click.option("--add-key", "add", multiple=True, metavar="ROLE=FILE",
              help="Give a role (root, list, package) one more public key.")  # fmt: skip
@click.option("--remove-key", "remove", multiple=True, metavar="ROLE=KEY",
              help="Take a key from a role; KEY is its file or how its id begins.")  # fmt: skip
@click.option("--revoke", multiple=True, metavar="KEY",
              help="Take a key from all roles, for ever: it never counts again.")  # fmt: skip
@click.option("--threshold", "thresholds", multiple=True, metavar="ROLE=NUMBER",
              help="How many keys of a role must sign.")  # fmt: skip
@click.option("--expires", default="", metavar="DATE", help="YYYY-MM-DD (UTC), or never.")
@_KEY
@_COMMAND
@json_option
def edit(trust_path: Path, add: tuple[str, ...], remove: tuple[str, ...], revoke: tuple[str, ...],
         thresholds: tuple[str, ...], expires: str, keys: tuple[Path, ...], sign_command: str,
         as_json: bool) -> None:  # fmt: skip
    """Make the next version, or change its draft; sign it with --key in the same step.

    \b
    Rotate a list key:   --add-key list=new.pub --revoke old.pub
    Rotate the root key: --add-key root=new.pub --revoke old.pub --key old.key --key new.key
    """
    from bootunion.host import trustkeeping

    current = trustkeeping.newest(trust_path)
    change = trustkeeping.Change(
        tuple((role, _public(file)) for role, file in map(_pair, add)),
        tuple((role, trustkeeping.find_key(current.keys, key)) for role, key in map(_pair, remove)),
        tuple(trustkeeping.find_key(current.keys, key) for key in revoke),
        tuple((role, _number(text)) for role, text in map(_pair, thresholds)),
        _time(expires) if expires else None,
    )
    _refuse_nothing(change)
    signers = [Signer(key, sign_command) for key in keys]
    _show_signed(*trustkeeping.edit(trust_path, change, signers), as_json)


@trust_group.command(name="sign")
@trust_option
@_KEY
@_COMMAND
@json_option
def sign_draft(trust_path: Path, keys: tuple[Path, ...], sign_command: str, as_json: bool) -> None:
    """Sign the draft. With enough signatures it becomes the newest version.

    Without --key it is only looked whether there are enough, as after `bootunion sign` elsewhere.
    """
    from bootunion.host import trustkeeping

    signers = [Signer(key, sign_command) for key in keys]
    _show_signed(*trustkeeping.sign(trust_path, signers), as_json)


@trust_group.command()
@trust_option
@store_option
@json_option
def publish(trust_path: Path, store_path: Path, as_json: bool) -> None:
    """Put all versions into a store, where machines find them at their next boot."""
    from bootunion.host import trustkeeping

    new = [str(path) for path in trustkeeping.publish(trust_path, store_path)]
    if as_json:
        console.show_json(new)
    else:
        print("\n".join(new) or "the store has all versions already")


def _show_signed(current: trust.Trust, found: Draft, done: bool, as_json: bool) -> None:
    from bootunion.host import trustkeeping

    if as_json:
        console.show_json({**_draft_json(current, found), "done": done})
    elif done:
        for line in trustkeeping.differences(current, found.trust):
            print(line)
        print(f"version {found.trust.version} is the newest; next: bootunion trust publish")
    else:
        _show_draft(current, found)


def _show_draft(current: trust.Trust, found: Draft) -> None:
    from bootunion.host import trustkeeping

    print(f"draft of version {found.trust.version}:")
    for line in trustkeeping.differences(current, found.trust):
        print(f"  {line}")
    for one in trustkeeping.votes(current, found):
        waiting = ", ".join(key[:16] for key in one.waiting)
        print(f"  signed by {len(one.signed)} of {one.threshold} root key(s) of version "
              f"{one.version}" + (f"; can sign: {waiting}" if waiting else ""))  # fmt: skip


def _trust_json(shown: trust.Trust) -> dict[str, object]:
    return {
        "version": shown.version,
        "expires": shown.expires,
        "roles": {
            name: {"threshold": role.threshold, "keys": list(shown.counting(name))}
            for name, role in shown.roles.items()
        },
        "revoked": list(shown.revoked),
    }


def _draft_json(current: trust.Trust, found: Draft) -> dict[str, object]:
    from bootunion.host import trustkeeping

    return {
        **_trust_json(found.trust),
        "differences": trustkeeping.differences(current, found.trust),
        "signatures": [one._asdict() for one in trustkeeping.votes(current, found)],
    }


def _pair(text: str) -> tuple[str, str]:
    role, equals, value = text.partition("=")
    if not equals or role not in trust.PAYLOAD_TYPES:
        raise click.BadParameter(f"{text!r} is not ROLE=… with root, list or package")
    return role, value


def _public(file: str) -> bytes:
    from bootunion import signature
    from bootunion.host import signing

    pem = signing.read_key(Path(file)).decode(errors="replace")
    public = signature.public_from_pem(pem, subject=file)
    fault = signature.public_fault(public)
    if fault:
        raise BootunionError("key-invalid", f"the public key {fault}", subject=file)
    return public


def _number(text: str) -> int:
    if not text.isdecimal():
        raise click.BadParameter(f"{text!r} is not a number")
    return int(text)


def _time(text: str) -> int:
    if text == "never":
        return 0
    try:
        day = datetime.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=datetime.UTC)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither YYYY-MM-DD nor never") from None
    return int(day.timestamp())


def _date(seconds: int) -> str:
    if not seconds:
        return "never"
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _refuse_nothing(change: Change) -> None:
    if not any(change[:4]) and change.expires is None:
        text = "nothing to change: see `bootunion trust edit --help`"
        raise BootunionError("trust-invalid", text)
