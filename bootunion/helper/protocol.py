"""What is said to the helper and what it answers: pure, bytes and values.

One request and one answer go over a SOCK_SEQPACKET socket, each one message of at most `MAX_SIZE`
bytes of JSON. With an answer that grants comes one descriptor (SCM_RIGHTS): the detached tree. A
request names lists and packages; there is no word in it for a path, a place or an option.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from bootunion import canonical
from bootunion.codes import CODES
from bootunion.errors import BootunionError
from bootunion.fields import HEX_DIGEST, Fields
from bootunion.systemlist import MAX_GENERATION, MAX_LAYERS

SOCKET = "/run/bootunion/helper.socket"
SCHEMA = 1
MAX_SIZE = 1 << 16
"""Bytes of the largest request and of the largest answer."""

_REQUEST = "helper-request-invalid"
_ANSWER = "helper-failed"
_SENTENCE = 1024  # characters; escaped, each may take twelve bytes
_LIST_NAME = re.compile(r"(?:[a-z0-9][a-z0-9._-]{0,63})?\Z")
_LIST = re.compile(r"(?:[a-z0-9][a-z0-9._-]{0,63}(?:@[1-9][0-9]{0,15})?)?\Z")
# NAME, NAME=VERSION, or hex digits of the root hash, which have the form of a name.
_PACKAGE = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9.+_@-]{0,127}(?:=[A-Za-z0-9][A-Za-z0-9.+~_:^-]{0,127})?\Z"
)


class Request(NamedTuple):
    """What somebody asks for: a list ("" for none; generation 0 is the current one), and packages.

    `with_` come above the list's packages, the first on top; `without` are left out of the list.
    """

    list_name: str = ""
    generation: int = 0
    with_: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The message."""
        title = f"{self.list_name}@{self.generation}" if self.generation else self.list_name
        return canonical.encode(
            {
                "schema": SCHEMA,
                "list": title,
                "with": list(self.with_),
                "without": list(self.without),
            }
        )


class Granted(NamedTuple):
    """What the tree is made of: the list and its generation ("" and 0 for none), the packages'
    root hashes, top first; an index's, the last, stands for all packages of its list."""

    list_name: str
    generation: int
    packages: tuple[str, ...]

    def encode(self) -> bytes:
        """The message."""
        return canonical.encode(
            {
                "schema": SCHEMA,
                "list": self.list_name,
                "generation": self.generation,
                "packages": list(self.packages),
            }
        )


def decode_request(data: bytes) -> Request:
    """The request in a message. Raises BootunionError helper-request-invalid."""
    subject = "request"
    if len(data) > MAX_SIZE:
        raise BootunionError(_REQUEST, f"is larger than {MAX_SIZE} bytes", subject=subject)
    value = canonical.decode(data, subject=subject, code=_REQUEST)
    fields = Fields(value, code=_REQUEST, subject=subject)
    fields.integer("schema", SCHEMA, SCHEMA)
    name, _, generation = fields.text("list", pattern=_LIST).partition("@")
    number = int(generation or 0)
    if number > MAX_GENERATION:
        raise fields.wrong("has an impossible generation", "list")
    with_, without = (fields.texts(key, most=MAX_LAYERS, limit=256) for key in ("with", "without"))
    fields.done()
    for key, packages in (("with", with_), ("without", without)):
        for one in packages:
            if _PACKAGE.match(one) is None:
                raise fields.wrong(f"holds {one[:80]!r}, which names no package", key)
        if len(set(packages)) != len(packages):
            raise fields.wrong("names a package twice", key)
    if not name and (without or not with_):
        raise fields.wrong("names neither a list nor packages to unite")
    return Request(name, number, with_, without)


def encode_refusal(error: BootunionError) -> bytes:
    """The answer that refuses; sentences are cut so that it is a message."""
    parts = {key: value[:_SENTENCE] for key, value in error.as_json().items()}
    return canonical.encode({"schema": SCHEMA, "refused": parts})


def decode_answer(data: bytes) -> Granted:
    """What was granted.

    Raises the helper's refusal as the BootunionError that it is, and helper-failed for an answer
    that is none.
    """
    subject = "answer"
    fields = Fields(
        canonical.decode(data, subject=subject, code=_ANSWER), code=_ANSWER, subject=subject
    )
    fields.integer("schema", SCHEMA, SCHEMA)
    refused = fields.take("refused", None)
    if refused is not None:
        fields.done()
        raise _refusal(Fields(refused, code=_ANSWER, subject=subject, where="refused"))
    name = fields.text("list", pattern=_LIST_NAME)
    generation = fields.integer("generation", 0, MAX_GENERATION)
    packages = fields.texts("packages", most=MAX_LAYERS, limit=64)
    fields.done()
    if not all(HEX_DIGEST.match(one) for one in packages):
        raise fields.wrong("holds something else than root hashes", "packages")
    return Granted(name, generation, packages)


def _refusal(fields: Fields) -> BootunionError:
    code = fields.choice("code", CODES)
    subject, message, _ = (fields.text(key, limit=_SENTENCE)
                           for key in ("subject", "message", "way_out"))  # fmt: skip
    fields.done()
    return BootunionError(code, message, subject=subject)
