"""SHA-256 without hashlib, which loads OpenSSL and each of its hashes at every boot.

CPython has an implementation of its own in every build; its module's name changed with 3.12.
"""

from __future__ import annotations

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        from _sha256 import sha256
    except ImportError:
        try:
            from _sha2 import sha256
        except ImportError:
            from hashlib import sha256


def hex_digest(data: bytes) -> str:
    """The SHA-256 of `data`, in hex."""
    return sha256(data).hexdigest()
