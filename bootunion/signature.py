"""Ed25519 by the `cryptography` package: the only module that imports it.

It is imported inside the functions, because loading it takes longer than everything else that
the agent does before the first mount (docs/measurements.md).

Keys are PEM. A public key's id is the SHA-256 of its DER SubjectPublicKeyInfo, in hex, so an id
can be had with openssl alone: `openssl pkey -pubin -outform DER -in key.pub | sha256sum`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from .errors import BootunionError

PUBLIC_SIZE = 32
# RFC 8410: the DER of an Ed25519 SubjectPublicKeyInfo is this prefix and the 32 bytes of the key.
_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
_BEGIN = "-----BEGIN PUBLIC KEY-----"
_END = "-----END PUBLIC KEY-----"


def key_id(public: bytes) -> str:
    """The id of a public key of 32 raw bytes: 64 hex digits."""
    return hashlib.sha256(_SPKI_PREFIX + public).hexdigest()


def public_to_pem(public: bytes) -> str:
    """A public key of 32 raw bytes as PEM."""
    return f"{_BEGIN}\n{base64.b64encode(_SPKI_PREFIX + public).decode()}\n{_END}\n"


def public_from_pem(text: str, *, subject: str) -> bytes:
    """The 32 raw bytes of an Ed25519 public key in PEM.

    Read here and not by `cryptography`, whose PEM loader is the larger half of its import.
    Raises BootunionError key-invalid.
    """
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise BootunionError("key-invalid", "no PEM public key", subject=subject)
    try:
        der = base64.b64decode("".join(lines[1:-1]), validate=True)
    except (binascii.Error, ValueError):
        raise BootunionError("key-invalid", "the PEM is not base64", subject=subject) from None
    if not der.startswith(_SPKI_PREFIX) or len(der) != len(_SPKI_PREFIX) + PUBLIC_SIZE:
        raise BootunionError("key-invalid", "not an Ed25519 public key", subject=subject)
    return der[len(_SPKI_PREFIX) :]


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` (64 bytes) over `message` is `public`'s.

    The verifier is OpenSSL's, on the host and in the initramfs alike.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


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

    Raises BootunionError key-invalid when the PEM holds no unencrypted Ed25519 key.
    """
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    try:
        private = serialization.load_pem_private_key(private_pem, password=None)
    except (ValueError, TypeError):
        raise BootunionError("key-invalid", "no PEM private key", subject=subject) from None
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise BootunionError("key-invalid", "not an Ed25519 private key", subject=subject)
    public = private.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )
    return public, private.sign(message)
