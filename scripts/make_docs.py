"""Makes the tables of docs/errors.md and docs/plan.md, the help texts of docs/cli.md, and
docs/man/bootunion.1's lists from the code.

What stands before the mark in those files is written by hand. Run `.venv/bin/python
scripts/make_docs.py`; with `--check` nothing is written, and the exit status says whether the files
are up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import make_man

from bootunion import checks, codes
from bootunion.host.cli import cli

TOP = Path(__file__).resolve().parents[1]
MARK = "<!-- From here on made by scripts/make_docs.py. -->\n"

STATUSES = (
    (0, "done"),
    (
        codes.EXIT_FAILED,
        "something outside failed: a program, the kernel, the disk, a missing file",
    ),
    (codes.EXIT_USAGE, "wrong words on the command line; the help says which are right"),
    (codes.EXIT_INPUT, "wrong input: a file or name that a person gave"),
    (codes.EXIT_UNTRUSTED, "not trusted: a signature, a digest or a rule of trust does not hold"),
    (codes.EXIT_PLAN, "the plan says that this root would not boot"),
    (codes.EXIT_INTERRUPTED, "interrupted by Ctrl-C or SIGTERM; nothing half-written is left"),
)


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def errors() -> str:
    rows = [(f"`{name}`", code.status, code.cause, code.way_out)
            for name, code in codes.CODES.items()]  # fmt: skip
    return f"{statuses()}\n{table(('code', 'status', 'cause', 'way out'), rows)}"


def statuses() -> str:
    return table(("exit status", "meaning"), list(STATUSES))


def commands(
    command: click.Command, context: click.Context
) -> Iterator[tuple[click.Context, click.Command]]:
    yield context, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, click.Context(
                inner, parent=context, info_name=name, terminal_width=96
            ))  # fmt: skip


def usage() -> str:
    root = click.Context(cli, info_name="bootunion", terminal_width=96, **cli.context_settings)
    text = statuses()
    for context, command in commands(cli, root):
        text += f"\n## {context.command_path}\n\n```\n{command.get_help(context)}\n```\n"
    return text


def checked() -> str:
    rows = [(f"`{name}`", one.severity, one.meaning, one.way_out)
            for name, one in checks.CHECKS.items()]  # fmt: skip
    return table(("code", "severity", "meaning", "way out"), rows)


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = False
    for name, made in (
        ("errors.md", errors), ("cli.md", usage), ("plan.md", checked), ("man/bootunion.1", None),
    ):  # fmt: skip
        path = TOP / "docs" / name
        before = path.read_text(encoding="utf-8")
        if made is None:
            after = make_man.page(before, STATUSES)
        else:
            after = f"{before.partition(MARK)[0]}{MARK}\n{made()}"
        if before != after:
            stale = True
            print(f"docs/{name} {'is out of date' if check else 'written'}")
            if not check:
                path.write_text(after, encoding="utf-8")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
