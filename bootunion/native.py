"""C functions with their types: ctypes converts arguments by itself then, in half the time."""

from __future__ import annotations

from ctypes import CDLL, get_errno, set_errno
from ctypes import c_char_p as TEXT  # noqa: N812 - as constants, for that is how they are used
from ctypes import c_int as INT  # noqa: N812
from ctypes import c_long as LONG  # noqa: N812
from ctypes import c_size_t as SIZE  # noqa: N812
from ctypes import c_uint as UINT  # noqa: N812
from ctypes import c_ulong as ULONG  # noqa: N812
from ctypes import c_void_p as POINTER  # noqa: N812

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["INT", "POINTER", "SIZE", "TEXT", "UINT", "ULONG", "Library", "c_function", "get_errno",
           "set_errno", "system_call"]  # fmt: skip


class Library:
    """An open shared library; None is this process with all that it is linked to."""

    def __init__(self, name: str | None = None) -> None:
        """Raises OSError."""
        self._library = CDLL(name, use_errno=True)

    def function(self, name: str, result: type | None, *arguments: type) -> Callable[..., Any]:
        """A function of one's own by this name and these types; errno is `get_errno()` afterwards.

        Raises AttributeError when the library has none of that name.
        """
        found = self._library[name]
        found.restype, found.argtypes = result, arguments
        return found


_here = Library()


def system_call(*arguments: type) -> Callable[..., int]:
    """syscall(2) with a number and arguments of these types."""
    return _here.function("syscall", LONG, LONG, *arguments)


def c_function(name: str, *arguments: type) -> Callable[..., int]:
    """A function of the C library that gives an int."""
    return _here.function(name, INT, *arguments)
