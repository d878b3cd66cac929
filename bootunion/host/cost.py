"""What a root costs: devices, memory, disk, what has to be downloaded, and the agent's time.

The formulas' numbers come from docs/measurements.md; they are estimates and shown as such.
"""

from __future__ import annotations

from typing import NamedTuple

from .planning import Preview

# Kernel memory that one mounted package pins, on two CPUs with 32 KiB blocks; bytes.
MEMORY_PER_LAYER = 840 << 10
# The agent's time on a slow machine: Debian 12's kernel on two emulated CPUs (QEMU's TCG); ms.
TIME_BASE = 700
TIME_PER_LAYER = 18
# The same below an index, where no package is mounted: devices alone (`make large`, 5,000).
MEMORY_PER_DEVICE = 380 << 10
TIME_PER_DEVICE = 7


class Cost(NamedTuple):
    """Numbers of devices and packages, bytes, and milliseconds under emulation."""

    layers: int
    loop_devices: int
    verity_devices: int
    kernel_memory_bytes: int
    disk_bytes: int
    missing_packages: int
    download_bytes: int
    estimated_ms: int


def of(found: Preview) -> Cost:
    """The cost of booting a preview's root."""
    count = len(found.rows)
    devices = len(found.system.packages)
    memory, time = MEMORY_PER_LAYER, TIME_PER_LAYER
    if found.system.index_layer:
        memory, time = MEMORY_PER_DEVICE, TIME_PER_DEVICE
    return Cost(
        layers=count,
        loop_devices=devices,
        verity_devices=devices,
        kernel_memory_bytes=devices * memory,
        disk_bytes=sum(row.layer.image.size for row in found.rows),
        missing_packages=sum(not row.known.present and not row.generated for row in found.rows),
        download_bytes=sum(row.known.download for row in found.rows),
        estimated_ms=TIME_BASE + devices * time,
    )
