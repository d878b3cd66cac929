"""The one exception for what a person can act on."""

from __future__ import annotations

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from .codes import Code


class BootunionError(Exception):
    """A refusal that a person can act on.

    `code` is a key of `CODES`, `message` one sentence, `subject` the package, file or parameter
    it is about ("" when the sentence needs none).
    """

    def __init__(self, code: str, message: str, *, subject: str = "") -> None:
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
        return self._entry().status

    @property
    def way_out(self) -> str:
        """What a person can do about it."""
        return self._entry().way_out

    def _entry(self) -> Code:
        # Not at the top: most boots end without a word, and the table is long.
        from .codes import CODES  # noqa: PLC0415

        return CODES[self.code]

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
