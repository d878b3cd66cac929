"""The one exception for what a person can act on."""

from __future__ import annotations

from .codes import CODES


class BootunionError(Exception):
    """A refusal that a person can act on.

    `code` is a key of `CODES`, `message` one sentence, `subject` the package, file or parameter
    it is about ("" when the sentence needs none).
    """

    def __init__(self, code: str, message: str, *, subject: str = "") -> None:
        if code not in CODES:
            raise KeyError(f"unknown error code {code!r}")
        super().__init__(message)
        self.code = code
        self.message = message
        self.subject = subject

    def __reduce__(self) -> tuple[object, ...]:
        # Importers run in processes of their own; an exception must survive the way back.
        return _rebuild, (self.code, self.message, self.subject)

    @property
    def status(self) -> int:
        """The exit status that the command line ends with."""
        return CODES[self.code].status

    @property
    def way_out(self) -> str:
        """What a person can do about it."""
        return CODES[self.code].way_out

    def as_json(self) -> dict[str, str]:
        """The refusal as it stands in `boot.json` and in `--json` output."""
        return {
            "code": self.code,
            "subject": self.subject,
            "message": self.message,
            "way_out": self.way_out,
        }

    def __str__(self) -> str:
        return f"{self.subject}: {self.message}" if self.subject else self.message


def _rebuild(code: str, message: str, subject: str) -> BootunionError:
    return BootunionError(code, message, subject=subject)
