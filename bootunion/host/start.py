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
    from .cli import main as whole  # noqa: PLC0415 - takes longer than what comes before

    whole()
