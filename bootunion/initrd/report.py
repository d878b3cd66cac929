"""What the agent did and why it refused: console, kernel log and `/run/bootunion/boot.json`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator

from bootunion import __version__
from bootunion.errors import BootunionError

from .executor import Step

SCHEMA = 1
FILE_NAME = "boot.json"
_ERROR = 3  # KERN_ERR
_NOTICE = 5  # KERN_NOTICE


class Report:
    """Collects what happened; `save` writes it. Times are CLOCK_MONOTONIC in nanoseconds."""

    def __init__(self, run: str, *, kmsg: str = "/dev/kmsg") -> None:
        self._directory = f"{run}/bootunion"
        self._kmsg = kmsg
        self.facts: dict[str, object] = {
            "schema": SCHEMA,
            "bootunion": __version__,
            "kernel": os.uname().release,
            "python": sys.version.split()[0],
            "started": time.monotonic_ns(),
        }
        self.steps: list[Step] = []

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Record a step of the agent's own, such as reading the list."""
        start = time.monotonic_ns()
        yield
        self.steps.append(Step(name, None, start, time.monotonic_ns()))

    def say(self, text: str) -> None:
        """A line for people, in the kernel log (which the console shows)."""
        self._log(_NOTICE, text)

    def refuse(self, error: BootunionError) -> None:
        """Say why nothing is booted: one sentence and the way out."""
        self.facts["error"] = error.as_json()
        line = f"REFUSED [{error.code}] {error}"
        # The console gets it directly: the kernel's log level may hide its log there.
        print(f"bootunion: {line}. {error.way_out}", file=sys.stderr, flush=True)
        self._log(_ERROR, f"{line}. {error.way_out}")

    def _log(self, level: int, text: str) -> None:
        # A record of the kernel log is one line of at most about 1,000 bytes.
        line = text.encode(errors="backslashreplace").replace(b"\n", b" ")[:900]
        with contextlib.suppress(OSError), open(self._kmsg, "wb", buffering=0) as log:
            log.write(b"<%d>bootunion: %b\n" % (level, line))

    def save(self, result: str) -> None:
        """Write `boot.json`; `result` is "assembled" or "refused"."""
        self.facts["result"] = result
        self.facts["finished"] = time.monotonic_ns()
        document = {**self.facts, "steps": [step._asdict() for step in self.steps]}
        os.makedirs(self._directory, exist_ok=True)
        aside = f"{self._directory}/.{FILE_NAME}.new"
        with open(aside, "w", encoding="utf-8") as file:
            json.dump(document, file)
        os.rename(aside, f"{self._directory}/{FILE_NAME}")
