"""Packages for somebody without privileges and without a helper: squashfuse in a user namespace.

Weaker than dm-verity: the image was checked before, and its owner can change it while it is read.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence

from bootunion.errors import BootunionError
from bootunion.initrd import mount
from bootunion.package import SQUASHFS
from bootunion.process import Pick

from .. import run
from .searching import Place


def mount_all(picks: Sequence[Pick], search: Sequence[Place]) -> dict[int, int]:
    """Mount each package's image in the user namespace that this process is in; trees by layer.

    The programs that serve them end with the process namespace. Raises BootunionError
    program-missing, program-failed, privilege-missing for an image that is no squashfs.
    """
    for layer, _ in picks:
        if layer.image.format != SQUASHFS:
            text = f"is an {layer.image.format.upper()}, which takes root's rights to open"
            raise BootunionError("privilege-missing", text, subject=layer.name)
    trees = {}
    with contextlib.ExitStack() as stack:
        serving = []
        for number, (layer, store) in enumerate(picks):
            channel, trees[number] = _mount()
            stack.callback(os.close, channel)
            image = search[store].store.packages / layer.file_name
            # libfuse serves what is mounted already when it is given the channel (mount_fuse3(8)).
            argv = ["squashfuse", str(image), f"/dev/fd/{channel}"]
            serving.append((layer, argv, stack.enter_context(run.popen(argv, keep=(channel,)))))
        for layer, argv, program in serving:
            _, said = program.communicate()  # it goes on in the background
            if program.returncode != 0:
                raise run.failure(argv, program.returncode, said, what=f"opening {layer.name}")
    return trees


def _mount() -> tuple[int, int]:
    """A FUSE file system that nobody serves yet: its channel and its detached tree."""
    channel = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        with mount.FileSystemContext("fuse") as context:
            context.string("source", "squashfuse")
            context.string("fd", str(channel))
            context.string("rootmode", f"{stat.S_IFDIR:o}")
            context.string("user_id", str(os.getuid()))
            context.string("group_id", str(os.getgid()))
            context.flag("default_permissions")
            context.flag("ro")
            attributes = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV
            return channel, context.mount(attributes)
    except BaseException:
        os.close(channel)
        raise
