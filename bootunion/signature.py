"""Ed25519 by OpenSSL: checked by the libcrypto that Python is linked to (`libcrypto`), made by the
`cryptography` package, which no other module imports.

It is imported inside the functions, because loading it takes longer than everything else that
the agent does before the first mount (docs/adr/0012).

Keys are PEM. A public key's id is the SHA-256 of its DER SubjectPublicKeyInfo, in hex, so an id
can be had with openssl alone: `openssl pkey -pubin -outform DER -in key.pub | sha256sum`.

Verifiers of Ed25519 disagree about odd points and scalars, so what is odd is refused here, before
OpenSSL is asked; host and agent call the same functions (docs/trust.md states the policy):

1. A public key must be 32 bytes, canonical (y < p), and not of small order.
2. A signature must be 64 bytes, its R canonical and not of small order, its S less than L.
3. Then OpenSSL decides, by the equation without the cofactor: R = S*B - k*A, compared as bytes.
"""

from __future__ import annotations

import binascii

from .errors import BootunionError
from .sha256 import hex_digest

PUBLIC_SIZE = 32
SIGNATURE_SIZE = 64
# RFC 8410: the DER of an Ed25519 SubjectPublicKeyInfo is this prefix and the 32 bytes of the key.
_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
_BEGIN = "-----BEGIN PUBLIC KEY-----"
_END = "-----END PUBLIC KEY-----"

# RFC 8032 §5.1: the field's prime, the order of the base point, the curve's constant.
_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
# The eight points of small order have five y between them, of order 1, 2, 4 and twice 8. Both signs
# of x give such a point or, where x is 0, no canonical encoding, so y alone decides.
_Y8 = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER = frozenset({1, _P - 1, 0, _Y8, _P - _Y8})


def key_id(public: bytes) -> str:
    """The id of a public key of 32 raw bytes: 64 hex digits."""
    return hex_digest(_SPKI_PREFIX + public)


def public_to_pem(public: bytes) -> str:
    """A public key of 32 raw bytes as PEM."""
    return f"{_BEGIN}\n{binascii.b2a_base64(_SPKI_PREFIX + public).decode()}{_END}\n"


def point_fault(encoded: bytes) -> str:
    """What is odd about the encoding of a point: "" when nothing is.

    Whether the point is on the curve is not asked: OpenSSL decodes the public key, and no point
    that it computes equals an R that is not on the curve.
    """
    if len(encoded) != PUBLIC_SIZE:
        return f"is not {PUBLIC_SIZE} bytes"
    y = int.from_bytes(encoded, "little") & ((1 << 255) - 1)
    if y >= _P:
        return "is not canonically encoded"
    return "has small order" if y in _SMALL_ORDER else ""


def public_fault(public: bytes) -> str:
    """What is wrong with a public key of 32 raw bytes that is new: "" when nothing is.

    Besides `point_fault` it asks whether the point is on the curve. That costs as much as a
    signature, so it is asked when a key is put into a trust store, and not at each boot: a key
    that is not on the curve can not do more than verify nothing.
    """
    fault = point_fault(public)
    if fault:
        return fault
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    # x*x = (y*y - 1) / (d*y*y + 1) must be a square: Euler's criterion on numerator * denominator.
    square = (y * y - 1) * (_D * y * y + 1) % _P
    return "" if pow(square, (_P - 1) // 2, _P) == 1 else "is no point of the curve"


def public_from_pem(text: str, *, subject: str) -> bytes:
    """The 32 raw bytes of an Ed25519 public key in PEM.

    Read here and not by `cryptography`, whose PEM loader is the larger half of its import.
    Raises BootunionError key-invalid, also for a key that the policy above refuses.
    """
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise BootunionError("key-invalid", "no PEM public key", subject=subject)
    try:
        der = binascii.a2b_base64("".join(lines[1:-1]), strict_mode=True)
    except (binascii.Error, ValueError):
        raise BootunionError("key-invalid", "the PEM is not base64", subject=subject) from None
    if not der.startswith(_SPKI_PREFIX) or len(der) != len(_SPKI_PREFIX) + PUBLIC_SIZE:
        raise BootunionError("key-invalid", "not an Ed25519 public key", subject=subject)
    public = der[len(_SPKI_PREFIX) :]
    fault = point_fault(public)
    if fault:
        raise BootunionError("key-invalid", f"the public key {fault}", subject=subject)
    return public


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` (64 bytes) over `message` is `public`'s.

    The verifier is OpenSSL's, on the host and in the initramfs alike, after the policy above.
    """
    if len(signature) != SIGNATURE_SIZE or point_fault(public) or point_fault(signature[:32]):
        return False
    if int.from_bytes(signature[32:], "little") >= _ORDER:
        return False
    from . import libcrypto  # noqa: PLC0415 - most commands check no signature

    try:
        return libcrypto.verify(public, signature, message)
    except libcrypto.UnavailableError:
        return cryptography_verifies(public, signature, message)


def cryptography_verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """What `cryptography` says, without the policy: OpenSSL's equation as well.

    For a Python that is linked to no libcrypto; one verdict with `libcrypto.verify` on every vector
    of tests/test_trust_ed25519.py.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def load() -> None:
    """Load the verifier now: for a process whose children would each do so."""
    from cryptography.exceptions import InvalidSignature  # noqa: F401, PLC0415
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    # Ed25519's base point (RFC 8032, section 5.1): the library loads its backend with the first.
    ed25519.Ed25519PublicKey.from_public_bytes(b"\x58" + b"\x66" * 31)


def generate() -> tuple[bytes, bytes]:
    """A new key pair: (private key as PEM in PKCS #8, public key of 32 raw bytes)."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    private = ed25519.Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )
    return pem, public


def sign(private_pem: bytes, message: bytes, *, subject: str) -> tuple[bytes, bytes]:
    """Sign `message`: (public key of 32 raw bytes, signature of 64 bytes).

    Raises BootunionError key-encrypted, or key-invalid when the PEM holds no Ed25519 key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    try:
        private = serialization.load_pem_private_key(private_pem, password=None)
    except TypeError:  # cryptography's answer to an encrypted key without a passphrase
        text = "the private key is encrypted"
        raise BootunionError("key-encrypted", text, subject=subject) from None
    except (ValueError, UnsupportedAlgorithm):
        raise BootunionError("key-invalid", "no PEM private key", subject=subject) from None
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise BootunionError("key-invalid", "not an Ed25519 private key", subject=subject)
    public = private.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )
    return public, private.sign(message)
