"""Feeds erofs-utils' mkfs.erofs, which reads a tar since 1.7 (Debian 12 has 1.5, Debian 13 1.8).

As with squashfs nothing is unpacked and no root is needed. What was found about 1.8.6 (Debian 13)
and 1.9.4 (unstable), each held by a test in tests/test_erofs.py:

- the root directory is taken from the tar's own "./" entry, with its mode, owner and time;
- with the options in `reproducible` both versions write the same bytes, whatever the number of
  threads; with `fragments` or `dedupe` 1.8.6 writes other bytes from run to run;
- a file's attributes have to fit in 32 KiB together: of more 1.8.6 makes an error of the disk and
  1.9.4 an image that the kernel takes for damaged (EUCLEAN). `members` refuses them.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from bootunion.errors import BootunionError

from . import reproducible, run

_NO_TAR = "unrecognized option '--tar"


def pack(image: Path, feed: Callable[[IO[bytes]], None], *, what: str, processors: int = 0) -> None:
    """Write `image` from the tar that `feed` writes to the file it is given.

    `processors` bounds mkfs.erofs's threads (0: all). Raises BootunionError program-failed,
    program-missing (also for one that cannot read a tar) or disk-full, and whatever `feed` raises.
    """
    argv = ["mkfs.erofs", "--tar=f", *reproducible.EROFS_OPTIONS, "--quiet"]
    if processors:
        argv.append(f"--workers={processors}")
    argv.append(str(image))

    def with_root(pipe: IO[bytes]) -> None:
        pipe.write(_root_entry())
        feed(pipe)

    # What it keeps aside may be as large as the package: on the store's disk, not in /tmp.
    surroundings = {"TMPDIR": str(image.parent)}
    try:
        run.feed(argv, with_root, what=what, env=surroundings)
    except BootunionError as error:
        if _NO_TAR not in error.message:
            raise
        text = "this mkfs.erofs cannot read a tar; erofs-utils 1.8 (Debian 13) or newer can"
        raise BootunionError("program-missing", text, subject="mkfs.erofs") from None


def _root_entry() -> bytes:
    root = tarfile.TarInfo("./")
    root.type, root.mode, root.mtime = tarfile.DIRTYPE, 0o755, reproducible.EPOCH
    return root.tobuf(tarfile.USTAR_FORMAT)
