"""What the kernel bounds: layers, stacking depth, the length of mount options."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .. import plan
from ..operations import MountOverlay
from ..package import EROFS, SQUASHFS
from ..systemlist import MAX_INDEXED, MAX_LAYERS, SystemList
from .finding import FATAL, WARNING, Finding, found
from .root import Root

MAX_OPTIONS = 4095
"""mount(2) takes a page of options with a NUL at its end (fs/namespace.c, copy_mount_options)."""

MAX_DEPTH = 2
"""FILESYSTEM_MAX_STACK_DEPTH (include/linux/fs.h)."""

# How deep a file system is stacked on the store's: what reads a block device ends it.
_FORMAT_DEPTH = {SQUASHFS: 0, EROFS: 0}
_UNKNOWN_DEPTH = 1  # a file-backed file system may count as a level of its own

# Overlay's options beside the layers, as the agent gives them (initrd/executor.py).
_OPTIONS = "metacopy=off,redirect_dir=nofollow,index=off,xino=on"
_BY_DESCRIPTOR = (6, 15)  # the first Linux that takes layers by descriptor as the agent gives them
_VERSION = re.compile(r"(\d+)\.(\d+)")


def check(root: Root) -> Iterator[Finding]:
    """Findings about the kernel's limits."""
    system = root.system
    count = len(system.layers)
    most, what = (MAX_INDEXED, "an index") if system.index_layer else (MAX_LAYERS, "an overlay")
    if count > most:
        package = root.names[most]
        text = (
            f"the list has {count} layers and {what} takes {most}: {package} is the "
            "first for which / has no place"
        )
        yield found("layers-too-many", "/", package, text)
    yield from _depth(root)
    yield from _options(root)


def _depth(root: Root) -> Iterator[Finding]:
    deepest, package = max(
        (1 + _FORMAT_DEPTH.get(layer.image.format, _UNKNOWN_DEPTH), layer.name)
        for layer in root.system.layers
    )
    if deepest < MAX_DEPTH:
        return
    text = f"{package} makes / an overlay of stacking depth {deepest}, and {MAX_DEPTH} is the most"
    severity = FATAL if deepest > MAX_DEPTH else WARNING
    yield found("stacking-depth", "/", package, text, severity=severity)


def options_length(system: SystemList) -> int:
    """Bytes of the options that mount(2) gets for the overlay of `system`."""
    (todo,) = (one for one in plan.for_boot(system, plan.Places()) if isinstance(one, MountOverlay))
    upper = f",upperdir={todo.upper}/upper,workdir={todo.upper}/work" if todo.upper else ""
    lower = ":".join(f"{layer}{root.rstrip('/')}" for layer, root in todo.lower)
    return len(f"{_OPTIONS}{upper},lowerdir={lower}".encode())


def _options(root: Root) -> Iterator[Finding]:
    length = options_length(root.system)
    version = _VERSION.match(root.system.kernel)
    if length <= MAX_OPTIONS:
        return
    if version is not None and (int(version[1]), int(version[2])) >= _BY_DESCRIPTOR:
        return
    longest = max(root.system.layers, key=lambda layer: len(layer.image.root))
    text = (
        f"mounting / before Linux 6.15 needs {length} bytes of options, and {MAX_OPTIONS} are the "
        f"most; {longest.name} with its root {longest.image.root} needs most of them"
    )
    severity = FATAL if version is not None else WARNING
    yield found("mount-options-long", "/", longest.name, text, severity=severity)
