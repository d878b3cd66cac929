"""What a person sees: tables and progress on a terminal, plain lines otherwise, JSON when asked."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from bootunion.errors import BootunionError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


@functools.cache
def out() -> Console:
    """The person's screen; importing rich takes longer than most commands have to say."""
    from rich.console import Console

    return Console()


@functools.cache
def err() -> Console:
    """The same for standard error."""
    from rich.console import Console

    return Console(stderr=True)


class Reporter(Protocol):
    """Tells how far long work has come."""

    def stage(self, what: str, total: int) -> None:
        """Begin a stage of `total` steps (0: nobody knows how many)."""

    def step(self, name: str) -> None:
        """One step of the stage is done."""


class _Plain:
    """One line for a stage, none for a step: logs stay readable."""

    def stage(self, what: str, total: int) -> None:
        count = f" ({total})" if total else ""
        print(f"{what}{count}", file=sys.stderr, flush=True)

    def step(self, name: str) -> None:
        pass


class _Bars:
    """A bar for each stage."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._total = 0

    def stage(self, what: str, total: int) -> None:
        self.finish()
        self._total = total
        self._task = self._bars.add_task(
            what, total=total or None, name="", count=f"0/{total}" if total else ""
        )

    def step(self, name: str) -> None:
        if self._task is not None:
            done = int(self._bars.tasks[-1].completed) + 1
            # Nobody knows everything beforehand: a bar never shows more than all.
            self._total = max(self._total, done) if self._total else 0
            self._bars.update(
                self._task, total=self._total or None, completed=done, name=name,
                count=f"{done}/{self._total}" if self._total else "",
            )  # fmt: skip

    def finish(self) -> None:
        if self._task is not None:
            done = self._bars.tasks[-1].completed or 1
            self._bars.update(self._task, total=done, completed=done, name="")


@contextlib.contextmanager
def progress() -> Iterator[Reporter]:
    """Bars on a terminal, lines otherwise; always on standard error."""
    if not sys.stderr.isatty():
        yield _Plain()
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
    from rich.table import Column

    columns = (
        SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"),
        BarColumn(bar_width=20), TextColumn("{task.fields[count]}", justify="right"),
        TextColumn("[dim]{task.fields[name]}", table_column=Column(no_wrap=True, ratio=1)),
    )  # fmt: skip
    with Progress(*columns, console=err()) as bars:
        reporter = _Bars(bars)
        yield reporter
        reporter.finish()


class Silent:
    """Nothing: the words belong to the program that is started."""

    def stage(self, what: str, total: int) -> None:
        pass

    def step(self, name: str) -> None:
        pass


@contextlib.contextmanager
def terminal_progress() -> Iterator[Reporter]:
    """Bars on a terminal, nothing otherwise."""
    if sys.stderr.isatty():
        with progress() as reporter:
            yield reporter
    else:
        yield Silent()


class Transfer:
    """A bar of bytes with their rate on a terminal, one line otherwise."""

    def __init__(self, bars: Progress | None) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def begin(self, packages: int, size: int) -> None:
        """`packages` are to come, `size` bytes together."""
        if self._bars is not None:
            self._task = self._bars.add_task("fetching", total=size, name="")
        elif packages:
            print(f"fetching {packages} packages ({human_size(size)})", file=sys.stderr, flush=True)

    def came(self, size: int) -> None:
        """`size` bytes came until now."""
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=size)

    def done(self, name: str) -> None:
        """A package is there."""
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, name=name)


@contextlib.contextmanager
def transfer() -> Iterator[Transfer]:
    """The progress of bytes that come, on standard error."""
    if not sys.stderr.isatty():
        yield Transfer(None)
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column

    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=20), DownloadColumn(),
        TransferSpeedColumn(), TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[name]}", table_column=Column(no_wrap=True, ratio=1)),
    )  # fmt: skip
    with Progress(*columns, console=err()) as bars:
        yield Transfer(bars)


def show_json(value: object) -> None:
    """A value as JSON on standard output, for programs."""
    print(json.dumps(value, indent=2))


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *,
               right: Sequence[str] = ()) -> None:  # fmt: skip
    """A table on a terminal, tab-separated lines otherwise."""
    if not sys.stdout.isatty():
        print("\t".join(columns))
        for row in rows:
            print("\t".join(row))
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        # What does not fit goes on in the next line: a name cut in the middle names nothing.
        table.add_column(
            column, justify="right" if column in right else "left", overflow="fold",
            no_wrap=column in right,
        )  # fmt: skip
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    out().print(table)


def refusal(error: BootunionError) -> None:
    """A refusal on standard error: one sentence with its code, then the way out."""
    show_line(f"bootunion: {error} [{error.code}]", error=True)
    show_line(f"  {error.way_out}", error=True)


def show_line(text: str, *, error: bool = False, style: str = "") -> None:
    """A line of text: broken between words on a terminal, whole otherwise."""
    stream = sys.stderr if error else sys.stdout
    if stream.isatty():
        where = err() if error else out()
        where.print(text, markup=False, highlight=False, emoji=False, style=style)
    else:
        print(text, file=stream, flush=True)


def human_size(size: int) -> str:
    """Bytes as people read them: "12.3 MiB"."""
    value = float(size)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
