"""Keys whose private half everybody has: examples of standards, keys of well-known tests.

They are what lands in a trust store by mistake, copied from a document or left from a trial; a
machine that believed one would boot whatever anybody signs. The trust store refuses them, and
nothing switches that off: no parameter, no environment, no kernel command line. Tests make keys.

Sources: RFC 8032 §7.1 to 7.3 (OpenSSL's evppkey_ecx.txt has the same keys), RFC 8410 §10.3, the
private keys of C2SP/wycheproof's ed25519 groups, the `cryptography_vectors` package, the Ed25519
key of securesystemslib, and seeds of one repeated or of ascending bytes. DSSE's specification has
no Ed25519 key. The 1,024 keys of the `sign.input` file of Ed25519's authors are left out, but for
the three that are RFC 8032's: a table of that size would cost each boot more than it saves.
"""

from __future__ import annotations

_PREFIX = 16
"""Hex digits of a key id that stand here: as many as messages show."""

# fmt: off
KEYS: dict[str, tuple[str, ...]] = {
    "RFC 8032": (
        "06e3fd8fda29bb60", "8d39ba50abe50f77", "cbfc48474fec9855", "deb2ded39dc26fce",
        "e22e5f835206173b", "e4f982b51ad0bdd8", "e77db4a9572e9f65",
    ),
    "RFC 8410": (
        "a1e9156054e04fac",
    ),
    "Wycheproof": (
        "085b3c67a4309232", "12baf21e99c11cf4", "1fa37bcce8fca91d", "2d8336d1494bcc9f",
        "32cca3f4ff0e18d5", "3b133a2e3d629ce8", "3c927133a9bb6cc8", "3f835bc6e1be156f",
        "43418587cafc9f8e", "4754dd2c49d158f1", "4b607ea5a4635384", "4ccb46e40b95d4da",
        "4f5c8e68bbc1ff9b", "4ff861ac01efc1d5", "5349de7c97b86a15", "5836f93ce80f97fd",
        "59533ad5256b00c9", "598df20cc0539fe4", "667e17ef43026280", "676946ddc5b25730",
        "6a4c21f7ffdcc3bc", "6abfa63d8041ef4c", "6f051202ee9943cd", "71d4c03fb1705e84",
        "789295cfb0d30a75", "79dd6f7c78cfcc09", "86c3710bd550c19c", "8930df130ea768eb",
        "8e7df9244f255d3d", "8f71d8f2111dc05e", "8fb1eb7972d55c1c", "919e3003dce3df42",
        "96402ce05be0b5e9", "9d488a0e299eb7e1", "b263f0ba80003e25", "b3aec03278bd134f",
        "b78a64b2a3ba9b38", "cbc65482a1796dea", "da387d6d48078837", "db6010928c152a17",
        "dbdf5b385125c770", "dc40e2c879032c73", "ec8d50be8608e5b9", "ecc7ae3514c3b8d4",
        "f2287c4348b43990", "f5e987e0e44de510", "ffcdada199f7c7b1",
    ),
    "the cryptography package's tests": (
        "51eb139008ff17e5", "55dd4c74b0e48534", "724882fdf967725a", "bce1a9fd75ada85b",
    ),
    "python-tuf's and securesystemslib's tests": (
        "0f930f5ce4a82875",
    ),
    "a seed that anybody tries first": (
        "339e2ff917630507", "646d6be49d9f0048", "8d5eb75dbb64464a", "9a82517f9af19416",
        "a050837d85070582", "fd110d301d2f077d",
    ),
}
# fmt: on


def source(key_id: str) -> str:
    """Where the private key of the public key with this id is published; "" for other keys."""
    prefix = key_id[:_PREFIX]
    for where, prefixes in KEYS.items():
        if prefix in prefixes:
            return where
    return ""
