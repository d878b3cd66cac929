"""Reads typed fields out of a decoded JSON object, refusing what does not fit.

`Fields` takes each key once; `done()` refuses keys that nobody asked for, so that a misspelt or
newer field is never silently ignored.
"""

from __future__ import annotations

from .errors import BootunionError
from .spelling import DIGITS, Spelling

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    import re
    from collections.abc import Collection

_DIGEST_LENGTH = 64
HEX_DIGEST = Spelling("", f"{DIGITS}abcdef", _DIGEST_LENGTH, least=_DIGEST_LENGTH)
TEXT_LIMIT = 4096

_MISSING = object()


class Fields:
    """The fields of one JSON object. Every refusal is a BootunionError `code` about `subject`."""

    def __init__(self, value: object, *, code: str, subject: str, where: str = "") -> None:
        self._code = code
        self._subject = subject
        self._where = where
        if not isinstance(value, dict):
            raise self.wrong("is not a JSON object")
        self._left: dict[str, object] = dict(value)

    def wrong(self, what: str, key: str = "") -> BootunionError:
        """The error that says `what` about this object or its field `key`."""
        path = ".".join(part for part in (self._where, key) if part)
        return BootunionError(self._code, f"{path or 'the document'} {what}", subject=self._subject)

    def take(self, key: str, default: object = _MISSING) -> object:
        """The raw value of `key`."""
        value = self._left.pop(key, default)
        self._there(value, key)
        return value

    def _there(self, value: object, key: str) -> None:
        if value is _MISSING:
            raise self.wrong("is missing", key)

    def has(self, key: str) -> bool:
        """Whether `key` is there and was not taken yet."""
        return key in self._left

    def text(
        self, key: str, *, pattern: Spelling | re.Pattern[str] | None = None, limit: int = 256
    ) -> str:
        """A string of at most `limit` characters that `pattern` matches from its start."""
        value = self._left.pop(key, _MISSING)
        if not isinstance(value, str) or len(value) > limit:
            self._there(value, key)
            raise self.wrong(f"is not a string of at most {limit} characters", key)
        if pattern is not None and not pattern.match(value):
            raise self.wrong(f"has the impossible value {value[:80]!r}", key)
        return value

    def digest(self, key: str) -> str:
        """A SHA-256 digest: 64 lower-case hex digits."""
        value = self._left.pop(key, _MISSING)
        if isinstance(value, str) and len(value) == _DIGEST_LENGTH:
            try:
                # White space and upper case do not come back as they were.
                if bytes.fromhex(value).hex() == value:
                    return value
            except ValueError:
                pass
        self._there(value, key)
        raise self.wrong("is not a SHA-256 digest in hex", key)

    def constant(self, key: str, value: int) -> None:
        """A whole number that can only be `value`."""
        found = self._left.pop(key, _MISSING)
        if type(found) is not int or found != value:
            self._there(found, key)
            raise self.wrong(f"is not {value}", key)

    def integer(self, key: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        value = self._left.pop(key, _MISSING)
        # bool is an int in Python; true is not a number in JSON.
        if (
            not isinstance(value, int)
            or value is True
            or value is False
            or not low <= value <= high
        ):
            self._there(value, key)
            raise self.wrong(f"is not a whole number from {low} to {high}", key)
        return value

    def choice(self, key: str, choices: Collection[str]) -> str:
        """One of the strings of `choices`."""
        value = self._left.pop(key, _MISSING)
        if not isinstance(value, str) or value not in choices:
            self._there(value, key)
            raise self.wrong(f"is not one of: {', '.join(choices)}", key)
        return value

    def objects(self, key: str, most: int) -> list[Fields]:
        """A list of at most `most` objects."""
        value = self.take(key)
        if not isinstance(value, list) or len(value) > most:
            raise self.wrong(f"is not a list of at most {most}", key)
        path = f"{self._where}.{key}" if self._where else key
        return [
            Fields(item, code=self._code, subject=self._subject, where=f"{path}[{index}]")
            for index, item in enumerate(value)
        ]

    def object(self, key: str) -> Fields:
        """A nested object."""
        path = f"{self._where}.{key}" if self._where else key
        return Fields(self.take(key), code=self._code, subject=self._subject, where=path)

    def texts(self, key: str, *, most: int, limit: int = TEXT_LIMIT) -> tuple[str, ...]:
        """A list of at most `most` strings of at most `limit` characters each."""
        value = self.take(key)
        if not isinstance(value, list) or len(value) > most:
            raise self.wrong(f"is not a list of at most {most}", key)
        for item in value:
            if not isinstance(item, str) or len(item) > limit:
                raise self.wrong(f"holds something else than strings of {limit}", key)
        return tuple(value)

    def done(self) -> None:
        """Refuse fields that were not taken."""
        if self._left:
            raise self.wrong("is not a known field", min(self._left))
