"""values.NamedTuple is typing.NamedTuple to whoever uses it."""

from __future__ import annotations

import copy
import pickle
import subprocess
import typing
from pathlib import Path

import pytest

from bootunion import values

TOP = Path(__file__).resolve().parents[1]


class Ours(values.NamedTuple):
    """Said of it."""

    a: int
    b: str = "b"
    c: tuple[int, ...] = ()

    @property
    def twice(self) -> int:
        return self.a * 2

    @classmethod
    def of(cls, a: int) -> Ours:
        return cls(a)


class Typed(typing.NamedTuple):
    a: int
    b: str = "b"
    c: tuple[int, ...] = ()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((1,), {}), ((), {"a": 1}), ((1, "x"), {"c": (2,)}), ((1, "x", (2,)), {}),
     ((), {"c": (3,), "a": 1})],
)  # fmt: skip
def test_it_is_made_as_typing_s(arguments: tuple[object, ...], named: dict[str, object]) -> None:
    ours, theirs = Ours(*arguments, **named), Typed(*arguments, **named)  # type: ignore[arg-type]
    assert tuple(ours) == tuple(theirs)
    assert (ours.a, ours.b, ours.c) == ours
    assert ours._asdict() == theirs._asdict()
    assert repr(ours) == repr(theirs).replace("Typed", "Ours")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((), {}), ((), {"b": "x"}), ((1, "x", (), 4), {}), ((1,), {"a": 2}), ((1,), {"d": 2})],
)
def test_what_typing_s_refuses_is_refused(
    arguments: tuple[object, ...], named: dict[str, object]
) -> None:
    for kind in (Ours, Typed):
        with pytest.raises(TypeError):
            kind(*arguments, **named)  # type: ignore[arg-type]


def test_it_has_what_typing_s_has() -> None:
    one = Ours.of(2)
    assert one.twice == 4
    assert Ours._fields == Typed._fields
    assert Ours._field_defaults == Typed._field_defaults
    assert Ours.__mro__ == (Ours, tuple, object)
    assert Ours.__doc__ == "Said of it."
    assert one._replace(b="y") == (2, "y", ())
    assert isinstance(one._replace(b="y"), Ours)
    assert Ours._make([1, "x", ()]) == Ours(1, "x")
    assert pickle.loads(pickle.dumps(one)) == copy.copy(one) == one
    assert type(pickle.loads(pickle.dumps(one))) is Ours
    with pytest.raises(ValueError, match="unexpected"):
        one._replace(d=1)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        one.a = 3  # type: ignore[misc]
    match one:
        case Ours(a, b):
            assert (a, b) == (2, "b")


def test_a_default_may_not_come_before_a_field_without_one() -> None:
    with pytest.raises(TypeError):

        class Wrong(values.NamedTuple):
            a: int = 1
            b: int  # type: ignore[misc]


def test_the_agent_imports_no_typing() -> None:
    """It and its compiler of annotations would cost a boot 40 ms (docs/measurements.md)."""
    code = "import sys; sys.path.append(sys.argv[1]); import bootunion.initrd.agent; "
    code += "from bootunion import libcrypto\n"
    code += "sys.exit(' '.join(set(sys.argv[2:]) & set(sys.modules)) or 0)"
    argv = ["/usr/bin/python3", "-I", "-S", "-E", "-B", "-c", code, str(TOP)]
    heavy = ("typing", "dataclasses", "inspect", "ast", "argparse", "pathlib", "subprocess",
             "cryptography", "logging")  # fmt: skip
    done = subprocess.run([*argv, *heavy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
