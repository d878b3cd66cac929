"""The Python that a wheel is for: asked what it is, never guessed."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from bootunion.errors import BootunionError

DEFAULT = "/usr/bin/python3"
TOP = "usr/local"
"""What every file of a wheel lies below (FHS: what the distribution leaves to its owner)."""

_INSIDE = Path(__file__).parent / "inside"
# What -I would do, but for the seed: who hashes at random need not write the same twice.
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0", "PYTHONPATH": "", "PYTHONHOME": "", "PYTHONOPTIMIZE": "",
    "PYTHONWARNINGS": "", "PYTHONPLATLIBDIR": "", "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONDEVMODE": "", "PYTHONVERBOSE": "", "PYTHONINSPECT": "", "PYTHONUTF8": "1",
    "PYTHONPROFILEIMPORTTIME": "", "PYTHONTRACEMALLOC": "", "PYTHONPYCACHEPREFIX": "",
}  # fmt: skip


class Layout(NamedTuple):
    """Where the parts of a wheel go (paths relative to the root), and for whom it is compiled.

    Of one wheel and one layout the same package comes out on any machine.
    """

    python: str
    purelib: str
    platlib: str
    headers: str
    scripts: str
    data: str
    cache_tag: str
    compiler: str

    @property
    def digest(self) -> str:
        """What tells this layout from others, 16 hex digits."""
        return hashlib.sha256("\0".join((*self, _inside_digest())).encode()).hexdigest()[:16]


class Interpreter(NamedTuple):
    """What an interpreter says of itself; `tags` are the wheels that fit, the best ones first."""

    version: str
    layout: Layout
    tags: tuple[str, ...]
    markers: dict[str, str]
    hidden: tuple[str, ...]
    """Where the distribution's own packages are: /usr/lib/python3/dist-packages."""


@functools.cache
def _inside_digest() -> str:
    return hashlib.sha256((_INSIDE / "compiling.py").read_bytes()).hexdigest()[:8]


def ask(python: str) -> Interpreter:
    """What the interpreter `python` (a path or a name in PATH) says of itself.

    Raises BootunionError python-unfit, program-missing.
    """
    return understand(answer(python), python)


def asked_by() -> tuple[str, str]:
    """The script that asks, and the package that tells it which wheels fit.

    Raises BootunionError program-missing where that package is not there.
    """
    import importlib.util  # noqa: PLC0415

    where = importlib.util.find_spec("packaging")
    if where is None or where.origin is None:
        text = "the Python module is not installed (Debian package python3-packaging)"
        raise BootunionError("program-missing", text, subject="packaging")
    return str(_INSIDE / "ask.py"), where.origin


def answer(python: str) -> Any:
    """What the interpreter answers, as it stands in JSON. Raises as `ask`."""
    script, packaging = asked_by()
    argv = [python, "-s", script, str(Path(packaging).parents[1])]
    from .. import run  # noqa: PLC0415 - an interpreter is asked once

    done = run.run(argv, what=f"asking {python}", env=_ENVIRONMENT, check_code="python-unfit")
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise _no_python(error, python) from None


def understand(said: Any, python: str) -> Interpreter:
    """An answer's values. Raises BootunionError python-unfit."""
    try:
        return _interpreter(said, python)
    except (ValueError, KeyError, TypeError) as error:
        raise _no_python(error, python) from None


def _no_python(error: Exception, python: str) -> BootunionError:
    text = f"answers what no Python answers: {error}"
    return BootunionError("python-unfit", text, subject=python)


def _interpreter(said: dict[str, Any], python: str) -> Interpreter:
    if said["in_venv"]:
        text = "is the Python of a virtual environment; a project's packages go below /usr/local"
        raise BootunionError("python-unfit", text, subject=python)
    paths = said["paths"]
    inside = f"/{TOP}/"
    for path in (said["executable"], paths["stdlib"], paths["platstdlib"]):
        if path.startswith(inside):
            text = f"has {path}, and /{TOP} is where a project's packages are"
            raise BootunionError("python-unfit", text, subject=python)
    for name in ("purelib", "platlib", "scripts"):
        if not paths[name].startswith(inside):
            text = f"keeps its {name} at {paths[name]}, which is not below /{TOP}"
            raise BootunionError("python-unfit", text, subject=python)
    short = said["short"]
    layout = Layout(
        said["executable"], paths["purelib"].strip("/"), paths["platlib"].strip("/"),
        # Debian's scheme has them below /usr, where nothing of a wheel may go.
        f"{TOP}/include/python{short}", paths["scripts"].strip("/"), TOP,
        said["cache_tag"], f"{said['version']} {said['magic']}",
    )  # fmt: skip
    return Interpreter(
        said["version"], layout, tuple(said["tags"]), dict(said["markers"]), tuple(_hidden(said))
    )


def _hidden(said: dict[str, Any]) -> Iterable[str]:
    """The site directories of Debian's, and of most other distributions', scheme."""
    base = f"/usr/lib/python{said['short']}"
    for path in (
        "/usr/lib/python3/dist-packages",
        f"{base}/dist-packages",
        f"{base}/site-packages",
    ):
        if Path(path).is_dir():
            yield path


def compile_sources(layout: Layout, sources: Iterable[tuple[str, bytes]]) -> list[bytes]:
    """The .pyc of each (path, source); b"" where the interpreter cannot compile it.

    Raises BootunionError program-failed, and python-unfit when the answer makes no sense.
    """
    asked = list(sources)
    if not asked:
        return []
    parts = []
    for path, source in asked:
        name = path.encode("utf-8", "surrogateescape")
        parts += [len(name).to_bytes(4, "big"), len(source).to_bytes(4, "big"), name, source]
    # Without site: what hooks of the machine's own do must not show in the bytes.
    argv = [layout.python, "-s", "-S", str(_INSIDE / "compiling.py")]
    from .. import run  # noqa: PLC0415

    answer = run.run(argv, what="compiling", input=b"".join(parts), env=_ENVIRONMENT).stdout
    made, at = [], 0
    while at < len(answer):
        size = int.from_bytes(answer[at : at + 4], "big")
        made.append(answer[at + 4 : at + 4 + size])
        at += 4 + size
    if len(made) != len(asked) or at != len(answer):
        raise BootunionError("python-unfit", "does not compile as asked", subject=layout.python)
    return made
