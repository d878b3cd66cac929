"""What of contextlib the agent uses, without importing it at each boot.

contextlib brings `collections` and `functools` with it: 15 million instructions of a boot that has
about 100 before it makes its first device (docs/measurements.md).
"""

from __future__ import annotations

TYPE_CHECKING = False  # see `values`
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any, TypeVar

    Entered = TypeVar("Entered")


class suppress:  # noqa: N801 - as contextlib spells it
    """A block that ends where one of these exceptions is raised in it."""

    __slots__ = ("_kinds",)

    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, self._kinds)


class Stack:
    """What is to be done at the end, the last first. A context manager; so does `close`.

    All of it is done, whatever one part raises; the first exception goes on. As contextlib's
    ExitStack, but that nothing on it can suppress an exception.
    """

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def callback(self, action: Callable[..., Any], *arguments: Any) -> None:
        """Call `action` at the end."""
        self._calls.append((action, arguments))

    def enter_context(self, manager: AbstractContextManager[Entered]) -> Entered:
        """Enter a context manager, and leave it at the end."""
        entered = manager.__enter__()
        self.callback(manager.__exit__, None, None, None)
        return entered

    def pop_all(self) -> None:
        """Forget everything: it has to stay."""
        self._calls.clear()

    def close(self) -> None:
        """Do all of it now."""
        first: BaseException | None = None
        while self._calls:
            action, arguments = self._calls.pop()
            try:
                action(*arguments)
            except BaseException as error:
                first = first or error
        if first is not None:
            raise first
