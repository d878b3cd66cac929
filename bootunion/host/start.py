"""Where the command `bootunion` begins."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; a root that was worked out before is not worked out again."""
    if sys.argv[1:2] == ["run"]:
        from . import again  # noqa: PLC0415 - for this command alone

        try:
            status = again.run(sys.argv[1:])
        except Exception:  # it is worked out anew, and says what is wrong
            status = None
        if status is not None:
            # Taking the interpreter apart takes longer than this process has lived for.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    project, command = _plain_project(sys.argv[1:])
    if command:
        # Of all words the ones that are most often typed: reading them takes click as long as
        # the rest takes for a project whose packages are there.
        from . import frame  # noqa: PLC0415
        from .processes import starting  # noqa: PLC0415

        asked = starting.for_project(project)
        sys.exit(frame.run(lambda: starting.start(command, asked)))
    from .cli import main as whole  # noqa: PLC0415 - takes longer than what comes before

    whole()


def _plain_project(words: list[str]) -> tuple[str, tuple[str, ...]]:
    """DIR and COMMAND of `run --project DIR -- COMMAND`; "" and () where there is more to it."""
    told = any(f"BOOTUNION_{name}" in os.environ for name in ("STORE", "TRUST", "SOURCES"))
    if told or words[:2] != ["run", "--project"] or words[3:4] != ["--"]:
        return "", ()
    return (words[2], tuple(words[4:])) if os.path.isdir(words[2]) else ("", ())
