"""What is fuzzed: each parser that sees bytes of the store, before the signature check or after it.

A target takes any bytes. It must come back or raise BootunionError, whatever they are; anything
else is a crash. What was accepted has to mean one thing: it is written again and read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bootunion import (
    canonical,
    choice,
    cmdline,
    contents,
    decoding,
    dsse,
    manifest,
    plan,
    signature,
    state,
    systemlist,
    trust,
    verity,
)
from bootunion.contents import Entry
from bootunion.errors import BootunionError
from bootunion.manifest import Contents, Manifest, Source
from bootunion.package import Image
from bootunion.systemlist import Layer, Shadowing, SystemList


def _public(name: str) -> bytes:
    """A public key, always the same, so that a crash can be had again from its bytes."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


_ROOT, _SIGNER = _public("fuzz root"), _public("fuzz signer")
_ID = signature.key_id(_SIGNER)


def _image() -> Image:
    return Image(
        "squashfs", verity.file_size(200), 200, verity.hash_offset(200), "0" * 64, "b" * 64
    )


def _list() -> SystemList:
    layers = (
        Layer("one", "1:2-3", "amd64", _image()),
        Layer("two", "1", "all", _image()._replace(root_hash="c" * 64, root="/top"), "optional"),
    )
    return SystemList("demo", 3, 1, 9, "amd64", "6.1", layers, "volatile", "0" * 64, 99,
                      (Shadowing("/x", "one", "two"),), 3, "restart", ("ssh.service",))  # fmt: skip


def _trust() -> trust.Trust:
    root = signature.key_id(_ROOT)
    roles = {"root": trust.Role((root,), 1), "list": trust.Role((_ID,), 1)}
    roles["package"] = roles["list"]
    return trust.Trust({_ID: _SIGNER, root: _ROOT}, roles, 2, 0, ("e" * 64,))


def _envelope(kind: str, payload: bytes) -> bytes:
    return dsse.Envelope(kind, payload, (dsse.Signature(_ID, bytes(64)),)).encode()


def _same(first: object, second: object) -> None:
    if first != second:
        raise AssertionError(f"does not read back: {first!r} {second!r}")


def envelope(data: bytes) -> None:
    found = dsse.decode(data, subject="x")
    _same(dsse.decode(found.encode(), subject="x"), found)


def opened_list(data: bytes) -> None:
    """An envelope that nobody of the trust store signed, all the way: never opened."""
    found = dsse.decode(data, subject="x")
    trust.open_envelope(_trust(), trust.ROLE_LIST, found, subject="x")
    raise AssertionError("opened without a signature")


def next_trust(data: bytes) -> None:
    trust.advance(_trust(), data, subject="x")
    raise AssertionError("advanced without a signature")


def anchor(data: bytes) -> None:
    trust.decode_anchor(data, subject="x")
    raise AssertionError("an anchor without a signature")


def memory(data: bytes) -> None:
    found = state.decode(data, subject="x")
    _same(state.decode(found.encode(), subject="x"), found)
    again = found.count_try(7).mark_good(3, 2, 1)
    _same(state.decode(again.encode(), subject="x"), again)
    choice.order(0, 5, [1, 2, 3], found)


def payload_list(data: bytes) -> None:
    """The list parser after the signature check, and everything that plans from it."""
    found = systemlist.decode(data, subject="x")
    _same(systemlist.decode(found.encode(), subject="x"), found)
    for operation in plan.for_boot(found, plan.Places()):
        operation.describe()
    for layer in found.layers:
        if "/" in layer.file_name or len(layer.file_name) > 255 or "\0" in layer.file_name:
            raise AssertionError(f"the file name {layer.file_name!r}")


def payload_manifest(data: bytes) -> None:
    found = manifest.decode(data, subject="x")
    _same(manifest.decode(found.encode(), subject="x"), found)


def payload_trust(data: bytes) -> None:
    found = trust.decode(data, subject="x")
    _same(trust.decode(found.encode(), subject="x"), found)


def entries(data: bytes) -> None:
    """The quick decoder and the plain one accept and refuse the same, with the same words."""
    with contextlib.suppress(BootunionError):
        _decoded_twice(_as_written(data))
    found = _decoded_twice(data)
    _same(_decoded_twice(contents.encode(found)), found)


def _decoded_twice(data: bytes) -> list[Entry]:
    try:
        found = list(contents.decode(data, subject="x"))
    except BootunionError as error:
        try:
            quick = decoding.decode(data, subject="x")
        except BootunionError as other:
            _same(str(other), str(error))
            raise
        raise AssertionError(f"only the quick one accepts {quick!r}") from None
    _same(decoding.decode(data, subject="x"), found)
    return found


def _as_written(data: bytes) -> bytes:
    """The same lines in the form that the quick decoder takes."""
    lines = []
    for line in data.splitlines():
        try:
            value = json.loads(line)
            line = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()  # noqa: PLW2901
        except (ValueError, RecursionError):
            pass
        lines.append(line + b"\n")
    return b"".join(lines)


def kernel_command_line(data: bytes) -> None:
    cmdline.parse(data.decode("utf-8", "replace"))


Target = Callable[[bytes], None]
_MANIFEST = Manifest("p", "1", "all", "d", ("a",), ("b",), _image(), Source("deb", "f", "0" * 64),
                     Contents("0" * 64, 9))  # fmt: skip
_CONTENTS = b"".join(
    canonical.encode({"path": path, "type": kind, "mode": 420, "uid": 0, "gid": 0, **more})
    for path, kind, more in (
        ("", "directory", {}), ("a", "file", {"size": 3, "digest": "0" * 64}),
        ("b", "symlink", {"target": "a"}), ("c", "character", {"device": [1, 3]}),
    )
)  # fmt: skip

# Each target with one valid document: what is mutated from it gets past the first checks.
TARGETS: dict[str, tuple[Target, bytes]] = {
    "envelope": (envelope, _envelope(systemlist.PAYLOAD_TYPE, b"{}")),
    "opened-list": (opened_list, _envelope(systemlist.PAYLOAD_TYPE, _list().encode())),
    "next-trust": (next_trust, _envelope(trust.PAYLOAD_TYPE, _trust().encode())),
    "anchor": (anchor, _envelope(trust.PAYLOAD_TYPE, _trust().encode())),
    "state": (memory, state.State(3, 1, 9, ((4, 2),), 7, 1, 2).encode()),
    "list": (payload_list, _list().encode()),
    "manifest": (payload_manifest, _MANIFEST.encode()),
    "trust": (payload_trust, _trust().encode()),
    "contents": (entries, _CONTENTS),
    "cmdline": (kernel_command_line, b'ro bootunion=demo bootunion.store="LABEL=my pkgs"'),
}


def run(target: Target, data: bytes) -> bool:
    """Whether `data` was accepted; anything but a refusal is raised."""
    try:
        target(data)
    except BootunionError:
        return False
    return True
