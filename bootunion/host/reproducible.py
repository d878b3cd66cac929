"""The one place that sets what would otherwise differ from machine to machine."""

from __future__ import annotations

import os

EPOCH = 1_700_000_000
"""Seconds since 1970 given to files whose real time means nothing (2023-11-14).

Not 0: programs take a time of 0 for "not set", among them make and systemd's condition checks.
"""

SQUASHFS_OPTIONS = (
    # 32 KiB blocks mount faster and pin less memory than the default 128 KiB at little size
    # (docs/measurements.md).
    "-comp", "zstd", "-b", "32K",
    "-reproducible", "-mkfs-time", "0",
    # squashfs-tools up to 4.7 look for files with the same bytes while other threads still make
    # the blocks they compare with, and now and then miss one: 1 image of 45 differed. Not looking
    # costs 0.08 % (191 packages of Debian 12).
    "-no-duplicates",
    # The inode table stays as it is, so that `squashfs` can set the root directory's time.
    "-noI",
    # Without a bound each sqfstar takes a quarter of the memory, and one runs on each core.
    "-mem", "256M",
    # sqfstar takes the root directory's mode from here, never from the tar's "./" entry.
    "-root-mode", "0755",
)  # fmt: skip

EROFS_OPTIONS = ("-b4096", "-T0", "--mkfs-time", "-Uclear")

EROFS_LZ4 = (
    # LZ4, the one compressor that EROFS of Debian's 6.1 has (zstd: 6.10), in clusters of 64 KiB
    # at most. What is left of a file is packed behind its inode (Linux 5.17). No fragments:
    # 1.8.6 makes other bytes of them from run to run.
    "-zlz4hc,level=9", "-C65536", "-Eztailpacking",
)  # fmt: skip

EROFS_ZSTD = (
    # Linux 6.10. No fragments, which would save 12 % more: a file of sudo's package came out of
    # 1.8.6 with other bytes than went in (tests/test_erofs.py compares each).
    "-zzstd,level=15", "-C65536", "-Eztailpacking",
)  # fmt: skip

EROFS_PLAIN = ("-E^inline_data",)
"""No file's last bytes behind its inode: an index points at blocks."""

ZSTD_LEVEL = 12
"""Compression of contents files; single-threaded, because threads change the bytes."""


def source_date_epoch() -> int:
    """SOURCE_DATE_EPOCH (reproducible-builds.org) when it is set, `EPOCH` otherwise."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(text) if text.isdigit() else EPOCH
