"""The Ed25519 policy: odd points and scalars are refused, and every verifier gives one verdict.

The odd encodings are worked out here by plain curve arithmetic, not copied from a table.
"""

import _hashlib
import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import edwards
import pytest
from composing import CACHE
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519
from edwards import BASE, ORDER, P, Point, multiply
from hypothesis import given, settings
from hypothesis import strategies as st

from bootunion import libcrypto, signature
from bootunion.errors import BootunionError

TOP = Path(__file__).resolve().parents[1]
SMALL = edwards.small_order()
SIGN = 1 << 255


class Vector(NamedTuple):
    """`openssl` says what OpenSSL answers without the policy, `ours` what we must answer."""

    kind: str
    public: bytes
    signature: bytes
    message: bytes
    openssl: bool
    ours: bool


def non_canonical() -> set[bytes]:
    """All encodings with y >= p, and those of x = 0 with the sign bit set."""
    found = {(y | sign).to_bytes(32, "little") for y in range(P, 1 << 255) for sign in (0, SIGN)}
    return found | {(y | SIGN).to_bytes(32, "little") for y in (1, P - 1)}


def signed(secret: int, public: Point, nonce: int, message: bytes) -> bytes:
    r = edwards.encode(multiply(nonce, BASE))
    k = edwards.challenge(r, edwards.encode(public), message)
    return r + ((nonce + k * secret) % ORDER).to_bytes(32, "little")


def vectors() -> list[Vector]:
    secret, nonce = 2**253 // 7, 2**252 // 11
    point = multiply(secret, BASE)
    public = edwards.encode(point)
    good = signed(secret, point, nonce, b"m")
    r, s = good[:32], int.from_bytes(good[32:], "little")
    found = [Vector("right", public, good, b"m", True, True)]
    found += [
        Vector(f"bit {bit}", public, flip(good, bit), b"m", False, False)
        for bit in (0, 200, 255, 256, 300, 500, 504, 511)
    ]
    found += [
        Vector(f"S + {n} L", public, r + (s + n * ORDER).to_bytes(32, "little"), b"m", False, False)
        for n in (1, 2, 8)
    ]
    found.append(Vector("S = L", public, r + ORDER.to_bytes(32, "little"), b"m", False, False))
    for index, small in enumerate(SMALL):
        encoded = edwards.encode(small)
        found.append(_small_public(f"A of small order {index}", small, encoded))
        found.append(_small_r(f"R of small order {index}", small, secret, point))
    for encoded in sorted(non_canonical()):
        y = int.from_bytes(encoded, "little") % SIGN % P
        x = edwards.x_of(y)
        if x is not None:
            x = x if x % 2 == encoded[31] >> 7 else -x % P
            found.append(_small_public("A not canonical", (x, y), encoded))
        found.append(Vector("R not canonical", public, encoded + good[32:], b"m", False, False))
    found += _mixed(secret, nonce)
    off = next(y for y in range(2, 99) if edwards.x_of(y) is None).to_bytes(32, "little")
    found.append(Vector("A off the curve", off, good, b"m", False, False))
    found.append(Vector("R off the curve", public, off + good[32:], b"m", False, False))
    return found


def flip(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def _small_public(kind: str, point: Point, encoded: bytes) -> Vector:
    """A signature that anybody can make for a key of small order, over a message that fits."""
    nonce = 5
    r = edwards.encode(multiply(nonce, BASE))
    for number in range(64 if point in SMALL else 1):
        message = b"%d" % number
        made = r + nonce.to_bytes(32, "little")
        if edwards.equation_holds(point, encoded, made, message):
            return Vector(kind, encoded, made, message, True, False)
    return Vector(kind, encoded, made, message, False, False)


def _small_r(kind: str, small: Point, secret: int, point: Point) -> Vector:
    """R is the small point and S = k*a: without the cofactor it holds for R = 0 only."""
    encoded = edwards.encode(small)
    k = edwards.challenge(encoded, edwards.encode(point), b"m")
    made = encoded + (k * secret % ORDER).to_bytes(32, "little")
    holds = edwards.equation_holds(point, edwards.encode(point), made, b"m")
    return Vector(kind, edwards.encode(point), made, b"m", holds, False)


def _mixed(secret: int, nonce: int) -> list[Vector]:
    """A key with a part of small order is its owner's own making: the plain equation decides."""
    found = []
    point = edwards.add(multiply(secret, BASE), SMALL[1])
    for number in range(24):
        message = b"mixed %d" % number
        made = signed(secret, point, nonce, message)
        holds = edwards.equation_holds(point, edwards.encode(point), made, message)
        found.append(Vector("A mixed", edwards.encode(point), made, message, holds, holds))
    assert {one.ours for one in found} == {True, False}
    return found


VECTORS = vectors()


def openssl(one: Vector) -> bool:
    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(one.public)
        key.verify(one.signature, one.message)
    except InvalidSignature:
        return False
    return True


def ours(public: bytes, value: bytes, message: bytes) -> bool:
    return signature.verifies(public, value, message)


def test_the_small_order_points_are_eight_and_refused() -> None:
    assert len({edwards.encode(one) for one in SMALL}) == 8
    for point in SMALL:
        assert multiply(8, point) == edwards.ZERO
        assert signature.point_fault(edwards.encode(point)) == "has small order"


def test_every_encoding_that_is_not_canonical_is_refused() -> None:
    found = non_canonical()
    assert len(found) == 19 * 2 + 2
    assert all(signature.point_fault(one) for one in found)


@given(st.integers(1, ORDER - 1), st.sampled_from(SMALL))
@settings(max_examples=40, deadline=None)
def test_every_other_point_is_accepted(number: int, torsion: Point) -> None:
    encoded = edwards.encode(edwards.add(multiply(number, BASE), torsion))
    assert signature.point_fault(encoded) == signature.public_fault(encoded) == ""


@given(st.integers(0, P - 1), st.sampled_from([0, SIGN]))
@settings(max_examples=80, deadline=None)
def test_a_public_key_is_a_point_of_the_curve(y: int, sign: int) -> None:
    encoded = (y | sign).to_bytes(32, "little")
    if not signature.point_fault(encoded):
        assert (signature.public_fault(encoded) == "") == (edwards.x_of(y) is not None)


@pytest.mark.parametrize("kind", ["A of small order", "A not canonical"])
def test_an_odd_public_key_is_refused_where_it_is_read(kind: str) -> None:
    found = [one for one in VECTORS if one.kind.startswith(kind)]
    assert found
    for one in found:
        with pytest.raises(BootunionError) as caught:
            signature.public_from_pem(signature.public_to_pem(one.public), subject="k")
        assert caught.value.code == "key-invalid"


def test_verdicts_are_the_policy_s() -> None:
    wrong = [one for one in VECTORS if ours(one.public, one.signature, one.message) != one.ours]
    assert not wrong


def test_the_policy_is_needed_and_openssl_is_as_we_think() -> None:
    """Without it OpenSSL accepts signatures that anybody can make for keys of small order."""
    assert [one for one in VECTORS if openssl(one) != one.openssl] == []
    kinds = {one.kind for one in VECTORS if one.openssl and not one.ours}
    assert {"A of small order 0", "A not canonical", "R of small order 0"} <= kinds


@pytest.mark.parametrize("size", [0, 31, 33, 63, 65, 128])
def test_wrong_sizes_are_refused(size: int) -> None:
    right = VECTORS[0]
    assert not ours(right.public, (right.signature * 2)[:size], right.message)
    assert not ours((right.public * 5)[: size + (size == 32)], right.signature, right.message)


_ODD_POINTS = ("R of small order", "R not canonical", "A of small order", "A not canonical")


def test_openssl_is_not_asked_about_what_is_odd(monkeypatch: pytest.MonkeyPatch) -> None:
    right = VECTORS[0]
    odd = [one for one in VECTORS if one.kind.startswith(("S ", *_ODD_POINTS))]

    def asked(*_: bytes) -> bool:
        raise AssertionError

    monkeypatch.setattr(libcrypto, "verify", asked)
    with pytest.raises(AssertionError):  # for what is not odd it would be
        ours(right.public, right.signature, right.message)
    assert not any(ours(one.public, one.signature, one.message) for one in odd)
    assert not ours(right.public, right.signature + b"\0", right.message)


_ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from bootunion import libcrypto, signature
def refuse(*_):
    raise libcrypto.UnavailableError
if sys.argv[2] == "cryptography":
    libcrypto.verify = refuse
else:
    signature.cryptography_verifies = None
found = json.load(sys.stdin)
print(json.dumps([signature.verifies(*map(bytes.fromhex, one)) for one in found]))
"""

# Debian's Python is the one that goes into the initramfs; the other is the host's.
VERIFIERS = [
    (python, verifier)
    for python in ("/usr/bin/python3", sys.executable)
    for verifier in ("libcrypto", "cryptography")
]


def verdicts_of(
    python: str, verifier: str, asked: list[tuple[bytes, bytes, bytes]]
) -> list[bool]:  # fmt: skip
    """What `signature.verifies` says in another process, by one of its two verifiers alone."""
    found = json.dumps([[part.hex() for part in one] for one in asked])
    done = subprocess.run([python, "-I", "-c", _ASK, TOP, verifier], input=found,
                          capture_output=True, text=True, check=False)  # fmt: skip
    if "No module named 'cryptography'" in done.stderr:
        pytest.skip("Debian's python3-cryptography is not installed")
    assert done.returncode == 0, done.stderr
    verdicts: list[bool] = json.loads(done.stdout)
    return verdicts


@pytest.mark.parametrize(("python", "verifier"), VERIFIERS)
def test_every_verifier_gives_the_same_verdicts(python: str, verifier: str) -> None:
    asked = [(one.public, one.signature, one.message) for one in VECTORS]
    assert verdicts_of(python, verifier, asked) == [one.ours for one in VECTORS]


def test_libcrypto_alone_is_as_cryptography_is() -> None:
    """Without the policy, too: both are OpenSSL's equation."""
    for one in VECTORS:
        said = libcrypto.verify(one.public, one.signature, one.message)
        assert said == one.openssl
        assert said == signature.cryptography_verifies(one.public, one.signature, one.message)


def test_a_refused_signature_leaves_no_error_for_python_s_ssl() -> None:
    pending = ctypes.CDLL(_hashlib.__file__).ERR_peek_error
    pending.restype = ctypes.c_ulong
    one = next(one for one in VECTORS if one.kind == "A off the curve")
    assert not libcrypto.verify(one.public, one.signature, one.message)
    assert pending() == 0


def outside(name: str) -> list[dict[str, object]]:
    path = CACHE / "vectors" / name
    if not path.exists():
        pytest.skip(f"no {path}: docs/trust.md says where it comes from")
    found = json.loads(path.read_text())
    if isinstance(found, list):
        return found
    return [
        {"key": group["publicKey"]["pk"], **one}
        for group in found["testGroups"] for one in group["tests"]
    ]  # fmt: skip


@pytest.mark.parametrize(("python", "verifier"), VERIFIERS)
def test_wycheproof_s_vectors(python: str, verifier: str) -> None:
    found = outside("ed25519_test.json")
    asked = [tuple(bytes.fromhex(str(one[key])) for key in ("key", "sig", "msg")) for one in found]
    verdicts = [ours(*one) for one in asked]
    assert verdicts == [one["result"] == "valid" for one in found]
    assert verdicts_of(python, verifier, asked) == verdicts  # type: ignore[arg-type]


@pytest.mark.parametrize(("python", "verifier"), VERIFIERS)
def test_cctv_s_vectors(python: str, verifier: str) -> None:
    """The community's collection of odd points: none of small order or not canonical passes."""
    found = outside("ed25519vectors.json")
    asked = [(bytes.fromhex(str(one["key"])), bytes.fromhex(str(one["sig"])),
              str(one["msg"]).encode()) for one in found]  # fmt: skip
    verdicts = [ours(*one) for one in asked]
    odd = {"low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R"}
    passed = [one for one, verdict in zip(found, verdicts, strict=True) if verdict]
    assert not [one for one in passed if odd & set(one["flags"] or ())]  # type: ignore[call-overload]
    assert verdicts_of(python, verifier, asked) == verdicts
