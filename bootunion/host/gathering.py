"""Gathering many values: what the memory allocator's helper costs when nothing can be let go."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def many_values() -> Iterator[None]:
    """Make hundreds of thousands of values that stay, without the collector looking through them.

    Python's cycle collector runs again and again as containers are made. Contents and namespaces
    hold no cycles, so it finds nothing, and takes a sixth of a plan's time. What was made in the
    block is not looked at later either (`gc.freeze`): use it in a process that ends soon.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
