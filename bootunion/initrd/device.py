"""Waits for the device that carries the store and mounts it (bootunion.store=)."""

from __future__ import annotations

import os
import time

from bootunion.errors import BootunionError

from . import mount

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from typing import Any

# What a store may lie on: read-only file systems and those that survive a power cut.
FILE_SYSTEMS = ("ext4", "btrfs", "xfs", "f2fs", "squashfs", "erofs")
_PROPERTIES = {
    "LABEL": "ID_FS_LABEL_ENC",
    "UUID": "ID_FS_UUID_ENC",
    "PARTLABEL": "ID_PART_ENTRY_NAME",
    "PARTUUID": "ID_PART_ENTRY_UUID",
}


def load_pyudev() -> Any:
    """The module pyudev, made to find its libraries without starting programs.

    It asks ctypes.util, which runs ldconfig or gcc; an initramfs has neither.
    """
    import ctypes.util  # noqa: PLC0415 - only machines that wait for a device pay for these

    sonames = {"udev": "libudev.so.1", "c": "libc.so.6"}
    ctypes.util.find_library = lambda name: sonames.get(name)  # noqa: PLW0108 - typed so
    import pyudev  # noqa: PLC0415

    return pyudev


def wait(spec: str, timeout: int) -> tuple[str, str]:
    """The (device node, file system type) of `spec`, waiting at most `timeout` seconds for udev.

    `spec` is /dev/… or LABEL=, UUID=, PARTLABEL=, PARTUUID=. Raises BootunionError device-timeout.
    """
    pyudev = load_pyudev()
    context = pyudev.Context()
    monitor = pyudev.Monitor.from_netlink(context, source="udev")
    monitor.filter_by("block")
    # Listening starts before looking, so that no device slips in between.
    monitor.start()
    deadline = time.monotonic() + timeout
    device = next((one for one in context.list_devices(subsystem="block") if _is(one, spec)), None)
    while device is None:
        left = deadline - time.monotonic()
        if left <= 0:
            text = f"no such device appeared within {timeout} s"
            raise BootunionError("device-timeout", text, subject=spec)
        event = monitor.poll(timeout=left)
        if event is not None and event.action != "remove" and _is(event, spec):
            device = event
    return device.device_node, device.properties.get("ID_FS_TYPE", "")


def _is(device: Any, spec: str) -> bool:
    # Without an ID_FS_TYPE udev has not looked into the device yet, or finds no file system.
    if not device.is_initialized or not device.properties.get("ID_FS_TYPE"):
        return False
    if spec.startswith("/dev/"):
        return spec == device.device_node or spec in device.device_links
    tag, _, value = spec.partition("=")
    return bool(device.properties.get(_PROPERTIES[tag]) == value)


def mount_store(node: str, fstype: str, path: str) -> None:
    """Mount the store's file system at `path`, read-only.

    Raises BootunionError file-invalid for a type that no store may have, kernel-call when the
    kernel does not mount it.
    """
    if fstype not in FILE_SYSTEMS:
        text = f"holds {fstype or 'no file system'}, a store lies on {', '.join(FILE_SYSTEMS)}"
        raise BootunionError("file-invalid", text, subject=node)
    os.makedirs(path, exist_ok=True)
    try:
        mount.mount(node, path, fstype, mount.MS_RDONLY | mount.MS_NODEV | mount.MS_NOSUID)
    except OSError as error:
        text = f"cannot mount the store: {error.strerror}"
        raise BootunionError("kernel-call", text, subject=node) from error
