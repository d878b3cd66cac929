"""Starts a program again in a root that was worked out before, from the same words.

`bootunion run` remembers what it is about to do. While all that it was worked out from is
unchanged, the next start reads that one file and does it: no list is opened, no signature checked
and no option parsed again. Only root's starts are remembered: what root may read and change, root
wrote. Packages come through dm-verity or were checked as they still are.

What is imported here costs every start: marshal and zlib are built in.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import sys
import time
import zlib
from collections.abc import Iterable, Sequence

from bootunion import __version__
from bootunion import operations as op

PLACE = "/run/bootunion/again"
_MOST = 1 << 20
_VARIABLES = ("HOME", "PATH", "VIRTUAL_ENV", "BOOTUNION_", "XDG_", "PIP_", "UV_")

_asked: list[tuple[object, ...]] = []

State = tuple[int, ...] | None
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .processes.entering import Job


def run(words: Sequence[str]) -> int | None:
    """Do what was done before for `words`; None when it has to be worked out.

    Raises as `entering.start` does, and whatever a file that was tampered with makes of it.
    """
    options, command = _split(words)
    if not command:
        return None
    # Before the program's own variables are set.
    _asked.append(_key(options))
    found = _recall(_asked[0])
    if found is None:
        return None
    _, until, watched, steps, stores, processes, environment = found
    if until and time.time() >= until:
        return None
    if any(_state(path) != state for path, state in watched):
        return None
    from .processes import entering  # noqa: PLC0415 - other commands come by here, too

    os.environ.update(environment)
    operations = tuple(getattr(op, name)(*fields) for name, fields in steps)
    return entering.start(entering.Job(operations, stores, processes=processes), command)


def remember(job: Job, *, until: int, watched: Iterable[str], names: Iterable[str]) -> None:
    """Remember a job for the words that `run` was asked for.

    `watched` are the paths that it was worked out from, `until` is when its list expires (seconds
    since 1970, 0: never), `names` are the environment variables that were set for the program.
    """
    if os.geteuid() != 0 or job.user or not _asked:
        return
    key = _asked[0]
    record: Any = (
        key,
        until,
        tuple((path, _state(path)) for path in dict.fromkeys(watched)),
        tuple((type(one).__name__, tuple(one)) for one in job.operations),
        tuple(map(str, job.stores)),
        job.processes,
        {name: os.environ[name] for name in names},
    )  # fmt: skip
    with contextlib.suppress(OSError):  # what is not remembered is worked out again
        os.makedirs(PLACE, mode=0o700, exist_ok=True)
        aside = f"{_file(key)}.{os.getpid()}"
        with open(aside, "xb", opener=_private) as file:
            file.write(marshal.dumps(record))
        os.rename(aside, _file(key))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _split(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The options of `bootunion run` and the command behind "--"; that is () where none is."""
    if words[:1] != ["run"] or "--" not in words:
        return (), ()
    at = words.index("--")
    return tuple(words[1:at]), tuple(words[at + 1 :])


def _key(options: tuple[str, ...]) -> tuple[object, ...]:
    """All that decides what the words mean."""
    variables = tuple(sorted(one for one in os.environ.items() if one[0].startswith(_VARIABLES)))
    try:
        here = os.getcwd()
    except FileNotFoundError:
        here = ""
    return (__version__, sys.version, options, here, variables, sys.stderr.isatty())


def _file(key: tuple[object, ...]) -> str:
    return f"{PLACE}/{zlib.crc32(repr(key).encode()):08x}"


def _recall(key: tuple[object, ...]) -> tuple[Any, ...] | None:
    if os.geteuid() != 0:
        return None
    try:
        fd = os.open(_file(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if status.st_uid != 0 or status.st_mode & 0o022:
                return None
            found = marshal.loads(file.read(_MOST))  # noqa: S302 - root's own file
    except (OSError, ValueError, EOFError, TypeError):
        return None
    return found if isinstance(found, tuple) and len(found) == 7 and found[0] == key else None


def _state(path: str) -> State:
    """What is compared of a file; ctime can't be set back by whoever changes it."""
    try:
        one = os.stat(path)
    except OSError:
        return None
    return (one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns)
