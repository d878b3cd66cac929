"""Ed25519's equation by the libcrypto that Python itself is linked to.

A boot asks here and not the `cryptography` package (docs/adr/0012): with Debian 12's, importing it
takes four times as long as everything else the agent does before the first mount.

The functions are OpenSSL's public interface since 1.1.1: EVP_PKEY_new_raw_public_key(3),
EVP_DigestVerifyInit(3).
"""

from __future__ import annotations

from .native import INT, POINTER, SIZE, TEXT, Library

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from collections.abc import Iterator

_ED25519 = 1087  # NID_ED25519, openssl/obj_mac.h
_SONAMES = ("libcrypto.so.3",)  # of OpenSSL 3; loading hashlib to find it costs three times as much


class UnavailableError(Exception):
    """This Python has no libcrypto that can be asked."""


class _Functions:
    """OpenSSL's functions that are needed, with their types."""

    def __init__(self, library: Library) -> None:
        """Raises AttributeError when `library` lacks one."""
        function = library.function
        self.new_key = function("EVP_PKEY_new_raw_public_key", POINTER, INT, POINTER, TEXT, SIZE)
        self.free_key = function("EVP_PKEY_free", None, POINTER)
        self.new_context = function("EVP_MD_CTX_new", POINTER)
        self.free_context = function("EVP_MD_CTX_free", None, POINTER)
        self.start = function("EVP_DigestVerifyInit", INT, *(POINTER,) * 5)
        self.verify = function("EVP_DigestVerify", INT, POINTER, TEXT, SIZE, TEXT, SIZE)
        self.forget_errors = function("ERR_clear_error", None)


_loaded: list[_Functions] = []


def _functions() -> _Functions:
    if not _loaded:
        _loaded.append(_load())
    return _loaded[0]


def _load() -> _Functions:
    for name in _names():
        try:
            return _Functions(Library(name))
        except (OSError, AttributeError):
            continue
    raise UnavailableError


def _names() -> Iterator[str]:
    """What to open, in order; what Python is linked to is only looked for at the end."""
    yield from _SONAMES
    yield _hashes()


def _hashes() -> str:
    """Python's own hashes, linked to its libcrypto: dlsym(3) of it finds libcrypto's functions."""
    try:
        import _hashlib  # noqa: PLC0415 - not every Python has it
    except ImportError:
        return "_hashlib"
    return str(getattr(_hashlib, "__file__", "_hashlib"))


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether OpenSSL takes `signature` (64 bytes) over `message` for `public`'s (32 bytes).

    `signature.verifies` is what decides: it refuses what is odd before it asks. Raises
    UnavailableError.
    """
    functions = _functions()
    key = functions.new_key(_ED25519, None, public, len(public))
    context = functions.new_context()
    try:
        if not key or not context or functions.start(context, None, None, None, key) != 1:
            return False
        said = functions.verify(context, signature, len(signature), message, len(message))
        return bool(said == 1)  # 0 is no, and below 0 an error
    finally:
        functions.free_context(context)
        functions.free_key(key)
        # OpenSSL's queue of errors is the thread's: Python's ssl would take ours for its own.
        functions.forget_errors()
