"""What the agent did and why it refused: console, kernel log, `/run/bootunion/boot.json`, and a
copy in the store's `reports/`."""

from __future__ import annotations

import os
import sys
import time

from bootunion import __version__, json_c
from bootunion.errors import BootunionError

from . import state
from .executor import Step
from .scopes import suppress
from .store import Store

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA = 3
FILE_NAME = "boot.json"
REPORTS = "reports"
KEPT_REPORTS = 16
_ERROR = 3  # KERN_ERR
_WARNING = 4
_NOTICE = 5  # KERN_NOTICE


class _Recording:
    """A block that is a step."""

    __slots__ = ("_name", "_start", "_steps")

    def __init__(self, steps: list[Step], name: str) -> None:
        self._steps, self._name = steps, name

    def __enter__(self) -> None:
        self._start = time.monotonic_ns()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._steps.append(Step(self._name, None, self._start, time.monotonic_ns()))


class Report:
    """Collects what happened; `save` writes it. Times are CLOCK_MONOTONIC in nanoseconds.

    `number` counts this machine's boots of the list.
    """

    def __init__(self, run: str, *, kmsg: str = "/dev/kmsg") -> None:
        self._directory = f"{run}/bootunion"
        self._kmsg = kmsg
        self.number = 0
        self._refused: list[dict[str, object]] = []
        self._warnings: list[dict[str, str]] = []
        self.facts: dict[str, object] = {
            "schema": SCHEMA,
            "bootunion": __version__,
            "kernel": os.uname().release,
            "python": sys.version.split()[0],
            "started": time.monotonic_ns(),
            "left_out": [],
        }
        self.steps: list[Step] = []

    def step(self, name: str) -> _Recording:
        """Record a step of the agent's own, such as reading the list, when it succeeds."""
        return _Recording(self.steps, name)

    def say(self, text: str) -> None:
        """A line for people, in the kernel log (which the console shows)."""
        self._log(_NOTICE, text)

    def warn(self, error: BootunionError) -> None:
        """Something that does not stop the boot and must not go unseen."""
        self._warnings.append(error.as_json())
        self._tell(_WARNING, f"WARNING [{error.code}] {error}. {error.way_out}")

    def leave_out(self, packages: Iterable[str]) -> None:
        """Name the optional packages that the root goes without."""
        names = list(packages)
        self.facts["left_out"] = names
        for package in names:
            self._tell(_WARNING, f"LEFT OUT {package}: it is optional and could not be had")

    def pass_over(self, generation: int, why: str, error: BootunionError) -> None:
        """Say why a generation is not booted."""
        self._refused.append({"generation": generation, "why": why, **error.as_json()})
        self._tell(_ERROR, f"REFUSED [{error.code}] {error}. {error.way_out}")

    def stop(self, error: BootunionError) -> None:
        """Say why nothing is booted: one sentence and the way out."""
        self.facts["error"] = error.as_json()
        self._tell(_ERROR, f"STOPPED [{error.code}] {error}. {error.way_out}")

    def _tell(self, level: int, line: str) -> None:
        # The console gets it directly: the kernel's log level may hide its log there.
        print(f"bootunion: {line}", file=sys.stderr, flush=True)
        self._log(level, line)

    def _log(self, level: int, text: str) -> None:
        # A record of the kernel log is one line of at most about 1,000 bytes.
        line = text.encode(errors="backslashreplace").replace(b"\n", b" ")[:900]
        with suppress(OSError), open(self._kmsg, "wb", buffering=0) as log:
            log.write(b"<%d>bootunion: %b\n" % (level, line))

    def _document(self, result: str) -> str:
        now = {"result": result, "finished": time.monotonic_ns(), "number": self.number,
               "refused": self._refused, "warnings": self._warnings}  # fmt: skip
        # A thousand steps: json would take three times as long over them (docs/measurements.md).
        steps = ", ".join([
            f'{{"name": "{name}", "layer": {"null" if layer is None else layer}, '
            f'"start": {start}, "end": {end}}}'
            for name, layer, start, end in self.steps
        ])  # fmt: skip
        return f'{json_c.text({**self.facts, **now}, ", ", ": ")[:-1]}, "steps": [{steps}]}}'

    def save(self, result: str) -> None:
        """Write `boot.json`; `result` is "assembled" or "refused"."""
        os.makedirs(self._directory, exist_ok=True)
        aside = f"{self._directory}/.{FILE_NAME}.new"
        with open(aside, "w", encoding="utf-8") as file:
            file.write(self._document(result))
        os.rename(aside, f"{self._directory}/{FILE_NAME}")

    def copy_to(self, store: Store, result: str) -> None:
        """Leave a copy in the store for the next boot, when it takes one; the oldest go."""
        with suppress(OSError), state.writable(store):
            keep_report(store, self.number, self._document(result).encode())


def keep_report(store: Store, number: int, document: bytes) -> None:
    """Write a boot's report into the store and drop the oldest. Raises OSError."""
    state.write(store, REPORTS, f"{number:010}.json", document)
    names = sorted(state.names(store, REPORTS, most=1024))
    place = os.open(REPORTS, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=store.fd)
    try:
        for name in names[:-KEPT_REPORTS]:
            os.unlink(name, dir_fd=place)
    finally:
        os.close(place)
