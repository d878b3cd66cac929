"""Ed25519's equation by the libcrypto that Python itself is linked to, through ctypes.

Nothing is loaded that `hashlib` has not loaded already, which is why a boot asks here and not the
`cryptography` package (docs/adr/0012): with Debian 12's, importing it takes four times as long as
everything else the agent does before the first mount.

The functions are OpenSSL's public interface since 1.1.1: EVP_PKEY_new_raw_public_key(3),
EVP_DigestVerifyInit(3).
"""

from __future__ import annotations

import ctypes

_ED25519 = 1087  # NID_ED25519, openssl/obj_mac.h
_SONAMES = ("libcrypto.so.3",)  # for a Python whose hashes are built in


class UnavailableError(Exception):
    """This Python has no libcrypto that can be asked."""


class _Functions:
    """OpenSSL's functions that are needed, with their types."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Raises AttributeError when `library` lacks one."""
        pointer, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
        self.new_key = library.EVP_PKEY_new_raw_public_key
        self.new_key.restype, self.new_key.argtypes = pointer, (ctypes.c_int, pointer, text, size)
        self.free_key = library.EVP_PKEY_free
        self.free_key.restype, self.free_key.argtypes = None, (pointer,)
        self.new_context = library.EVP_MD_CTX_new
        self.new_context.restype, self.new_context.argtypes = pointer, ()
        self.free_context = library.EVP_MD_CTX_free
        self.free_context.restype, self.free_context.argtypes = None, (pointer,)
        self.start = library.EVP_DigestVerifyInit
        self.start.argtypes = (pointer,) * 5
        self.verify = library.EVP_DigestVerify
        self.verify.argtypes = (pointer, text, size, text, size)
        self.forget_errors = library.ERR_clear_error
        self.forget_errors.restype, self.forget_errors.argtypes = None, ()


_loaded: list[_Functions] = []


def _functions() -> _Functions:
    if not _loaded:
        _loaded.append(_load())
    return _loaded[0]


def _load() -> _Functions:
    for name in (_hashes(), *_SONAMES):
        try:
            return _Functions(ctypes.CDLL(name))
        except (OSError, AttributeError):
            continue
    raise UnavailableError


def _hashes() -> str:
    """What is linked to Python's libcrypto: dlsym(3) of it finds libcrypto's functions."""
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
