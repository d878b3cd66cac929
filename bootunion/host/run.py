"""The one place that starts other programs.

A program gets an argument list (never a shell), a known environment and no terminal; what it
says on failure comes back as one sentence with a code. A child never outlives its parent: it is
killed when the `with` block ends, and by the kernel when this process dies (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from bootunion.errors import BootunionError

from .parent import die_with_parent

_MOST_WORDS = 1 << 16
# dpkg's summary, behind the failing script's own words.
_SUMMARY = re.compile(
    rb"^(?:dpkg: too many errors, stopping|Errors were encountered while processing:(?:\n .*)*"
    rb"|Processing was halted because there were too many errors\.)$",
    re.MULTILINE,
)

# Which Debian package brings a program, for the sentence when it is missing.
_DEBIAN_PACKAGE = {
    "apt-get": "apt",
    "chroot": "coreutils",
    "dpkg": "dpkg",
    "dpkg-deb": "dpkg",
    "ldd": "libc-bin",
    "mkfs.erofs": "erofs-utils",
    "mkfs.ext4": "e2fsprogs",
    "mksquashfs": "squashfs-tools",
    "qemu-system-x86_64": "qemu-system-x86",
    "sqfstar": "squashfs-tools",
    "squashfuse": "squashfuse",
    "unshare": "util-linux",
    "unsquashfs": "squashfs-tools",
    "veritysetup": "cryptsetup-bin",
}


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that programs get: the caller's, with a fixed locale and zone.

    Messages are parsed and results must not depend on the person's settings.
    """
    env = dict(os.environ)
    # Whoever needs it says so; squashfs-tools refuse it beside explicit times.
    env.pop("SOURCE_DATE_EPOCH", None)
    env.update({"LC_ALL": "C.UTF-8", "LANGUAGE": "", "TZ": "UTC"})
    env.update(extra or {})
    return env


def require(program: str) -> str:
    """The path of `program`.

    Raises BootunionError program-missing, naming the Debian package that has it.
    """
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None and "/" in program:
        text = "is not there, or may not be run"
        raise BootunionError("program-missing", text, subject=program)
    if found is None:
        package = _DEBIAN_PACKAGE.get(program, program)
        raise BootunionError(
            "program-missing",
            f"{program} is not installed (Debian package {package})",
            subject=program,
        )
    return found


def last_words(stderr: bytes, lines: int = 3) -> str:
    """The last lines of what a program said, as one line of text."""
    text = _SUMMARY.sub(b"", stderr).decode(errors="replace")
    said = [part.strip() for part in text.splitlines()]
    return "; ".join([part for part in said if part][-lines:]) or "it said nothing"


def run(
    argv: Sequence[str],
    *,
    what: str,
    input: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check_code: str = "program-failed",
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end and give its output.

    `what` says what it was for, as in "reading curl.deb". Raises BootunionError `check_code` when
    it ends with another status than 0, program-missing when there is no such program.
    """
    with popen(argv, stdin=subprocess.PIPE, env=env, cwd=cwd) as child:
        out, err = child.communicate(input or b"")
    if child.returncode != 0:
        raise failure(argv, child.returncode, err, what=what, code=check_code)
    return subprocess.CompletedProcess(list(argv), 0, out, err)


def follow(
    argv: Sequence[str],
    *,
    what: str,
    heard: Callable[[str], None],
    env: Mapping[str, str] | None = None,
    inside: Callable[[], None] | None = None,
    check_code: str = "program-failed",
    program: str = "",
) -> None:
    """Run a program to its end, calling `heard` with each line of its output as it comes.

    `inside` is called in the new process before the program is. An error names `program`, where
    that is not the first word. Raises as `run` does.
    """
    # What it says on standard error waits in memory: one reader of two pipes could block it.
    with os.fdopen(os.memfd_create("stderr", os.MFD_CLOEXEC), "w+b") as errors:
        with popen(argv, stderr=errors, env=env, inside=inside) as child:
            assert child.stdout is not None
            for line in child.stdout:
                heard(line.decode(errors="replace").rstrip("\n"))
            status = child.wait()
        if status != 0:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - _MOST_WORDS))
            named = [program or argv[0]]
            raise failure(named, status, errors.read(), what=what, code=check_code)


def feed(
    argv: Sequence[str],
    write: Callable[[IO[bytes]], None],
    *,
    what: str,
    env: Mapping[str, str] | None = None,
    program: str = "",
) -> None:
    """Run a program to its end while `write` writes to its standard input.

    An error names `program`, where that is not the first word. Raises as `run` does, and what
    `write` raises.
    """
    with (
        open(os.memfd_create("said"), "w+b") as said,  # on no disk: the disk may be full
        popen(argv, stdin=subprocess.PIPE, stdout=said, stderr=said, env=env) as child,
    ):
        assert child.stdin is not None
        # The program said why, and its status tells; or it has read the end of the tar, and needs
        # not the padding behind it.
        with contextlib.suppress(BrokenPipeError):
            write(child.stdin)
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        status = child.wait()
        said.seek(0)
        words = said.read()
    if status != 0:
        raise failure([program or argv[0]], status, words, what=what)


def failure(
    argv: Sequence[str], status: int, stderr: bytes, *, what: str, code: str = "program-failed"
) -> BootunionError:
    """The error for a program that ended with `status`."""
    if b"No space left on device" in stderr:
        return BootunionError("disk-full", f"no space left while {what}")
    ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    name = Path(argv[0]).name
    return BootunionError(code, f"{what}: {name} {ended}: {last_words(stderr)}")


@contextlib.contextmanager
def popen(
    argv: Sequence[str],
    *,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = subprocess.PIPE,
    stderr: int | IO[bytes] | None = subprocess.PIPE,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    inside: Callable[[], None] | None = None,
    keep: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """A running program; killed and reaped when the block is left by an exception.

    `inside` is called in the new process before the program is; it has the descriptors `keep`.
    """
    program = require(argv[0])

    def prepare() -> None:
        die_with_parent()
        if inside is not None:
            inside()

    child = subprocess.Popen(
        [program, *argv[1:]],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment(env),
        cwd=cwd,
        pass_fds=keep,
        preexec_fn=prepare,  # noqa: PLW1509 - the host tools start children from one thread
    )
    try:
        yield child
    except BaseException:
        child.kill()
        raise
    finally:
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None and child.poll() is None:
                with contextlib.suppress(OSError):
                    stream.close()
        child.wait()
