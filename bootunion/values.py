"""`NamedTuple` as typing's, at a tenth of its price: for what every boot imports.

typing.NamedTuple compiles each annotation and a constructor for each class, 0.6 ms of a boot for
each, and typing itself costs 11 (docs/measurements.md, instructions of a guest). The classes made
here behave the same; type checkers see typing's. A module that uses it has `from __future__ import
annotations`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; typing's own would have to be imported

if TYPE_CHECKING:
    from typing import Any, NamedTuple

    __all__ = ["NamedTuple"]
else:
    from _collections import _tuplegetter

    class _Maker(type):
        """Makes a subclass of tuple of a class body with annotations."""

        def __new__(cls, name: str, _: tuple[type, ...], body: dict[str, Any]) -> type:
            fields = tuple(body.get("__annotations__", ()))
            if not fields and "__annotations__" not in body:
                raise TypeError(f"{name} has no fields that can be read")
            defaults = {field: body[field] for field in fields if field in body}
            if tuple(defaults) != fields[len(fields) - len(defaults) :]:
                raise TypeError(f"{name} has a field without a default behind one that has one")
            doc = body.get("__doc__") or f"{name}({', '.join(fields)})"
            made = {
                **_METHODS, "__new__": _constructor(name, fields, defaults), **body, "__doc__": doc,
                "__slots__": (), "_fields": fields, "_field_defaults": defaults,
                "__match_args__": fields,
            }  # fmt: skip
            for index, field in enumerate(fields):
                made[field] = _tuplegetter(index, f"Alias for field number {index}")
            return type(name, (tuple,), made)

    def _constructor(name: str, fields: tuple[str, ...], defaults: dict[str, Any]) -> Any:
        count, new = len(fields), tuple.__new__

        def construct(cls: type, *values: Any, **named: Any) -> Any:
            if named or len(values) != count:
                values = complete(values, named)
            return new(cls, values)

        def complete(values: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
            if len(values) > count:
                raise TypeError(f"{name}() takes {count} values, got {len(values)}")
            for field in fields[: len(values)]:
                if field in named:
                    raise TypeError(f"{name}() got multiple values for {field!r}")
            given = {**defaults, **named}
            try:
                rest = tuple([given.pop(field) for field in fields[len(values) :]])
            except KeyError as missing:
                raise TypeError(f"{name}() is missing {missing}") from None
            unknown = [field for field in named if field not in fields]
            if unknown:
                raise TypeError(f"{name}() got an unexpected {unknown[0]!r}")
            return (*values, *rest)

        construct.__name__ = "__new__"
        return construct

    def _make(cls: type, values: Any) -> Any:
        return cls(*values)

    def _replace(self: Any, /, **named: Any) -> Any:
        values = [named.pop(field, value) for field, value in zip(self._fields, self, strict=True)]
        if named:
            raise ValueError(f"Got unexpected field names: {list(named)!r}")
        return tuple.__new__(type(self), values)

    def _asdict(self: Any) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def _repr(self: Any) -> str:
        shown = ", ".join(f"{key}={value!r}" for key, value in zip(self._fields, self, strict=True))
        return f"{type(self).__name__}({shown})"

    def _getnewargs(self: Any) -> tuple[Any, ...]:
        return tuple(self)

    _METHODS = {
        "_make": classmethod(_make), "_replace": _replace, "_asdict": _asdict,
        "__replace__": _replace, "__repr__": _repr, "__getnewargs__": _getnewargs,
    }  # fmt: skip

    class NamedTuple:
        """What a class with named fields is derived from; see typing.NamedTuple."""

        @staticmethod
        def __mro_entries__(_: tuple[object, ...]) -> tuple[type, ...]:
            return (_BASE,)

    NamedTuple = NamedTuple()
    _BASE = type.__new__(_Maker, "NamedTuple", (), {})
