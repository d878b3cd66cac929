"""What may be asked of the helper and what it means: pure.

Everybody may ask for whatever the system's keys have signed: the packages are no secret, the tree
is read-only, and in it setuid programs, file capabilities and devices count for nothing. What is
bounded is how much one person can ask for at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from bootunion import versions
from bootunion.errors import BootunionError
from bootunion.manifest import Manifest
from bootunion.naming import Named
from bootunion.systemlist import Layer

_CODE = "helper-request-invalid"


class Caller(NamedTuple):
    """Who asks, as the kernel tells (SO_PEERCRED): the process is for the log alone."""

    pid: int
    uid: int
    gid: int


class Bounds(NamedTuple):
    """How much is served at once, in all and of one uid, and for how long.

    A client has `talk_seconds` to say its word and to take the answer, a request `seconds`; the
    server ends when nobody asked and nobody kept a union for `idle_seconds`. One uid keeps at most
    `unions_of_one_uid` trees of more than one package.
    """

    requests: int = 16
    of_one_uid: int = 4
    unions_of_one_uid: int = 64
    talk_seconds: int = 5
    seconds: int = 30
    idle_seconds: int = 20

    def check(self, running: Sequence[int], uid: int) -> None:
        """Refuse one more request of `uid` beside those `running` (their uids).

        Raises BootunionError helper-busy.
        """
        mine = running.count(uid)
        if mine >= self.of_one_uid:
            text = f"{mine} requests of user {uid} are being served, more are not at once"
            raise BootunionError("helper-busy", text)
        if len(running) >= self.requests:
            text = f"{len(running)} requests are being served, more are not at once"
            raise BootunionError("helper-busy", text)

    def check_kept(self, kept: int, uid: int) -> None:
        """Refuse one more union for `uid`, who keeps `kept` or is just getting them.

        Raises BootunionError helper-unions-kept.
        """
        if kept >= self.unions_of_one_uid:
            text = f"user {uid} keeps {kept} unions of packages, more are not handed over"
            raise BootunionError("helper-unions-kept", text)


class Stems:
    """The stems of a store's packages, by what they may be asked for.

    A file's name is only a hint where to look: what counts is what the manifest says.
    """

    def __init__(self, stems: Iterable[str]) -> None:
        self._by: dict[str, list[str]] = {}
        for stem in sorted(stems):
            parts = stem.split("_")
            # A name may have underscores, too.
            begins = ["_".join(parts[:count]) for count in range(1, len(parts))]
            for key in {*begins, parts[-1]}:
                self._by.setdefault(key, []).append(stem)

    def of(self, named: Named) -> list[str]:
        """The stems that the package may have."""
        return self._by.get(named.hint, [])


def newest(
    named: Named, found: Iterable[Manifest], architectures: Collection[str]
) -> Manifest | None:
    """The package that is meant, of those whose manifests are signed; None where there is none.

    Raises BootunionError helper-request-invalid where the newest is not one.
    """
    fitting = [one for one in found if named.fits(one) and one.architecture in architectures]
    if not fitting:
        return None
    best = max(fitting, key=lambda one: versions.key(one.version))
    same = {one.image.root_hash for one in fitting
            if versions.compare(one.version, best.version) == 0}  # fmt: skip
    if len(same) > 1:
        text = f"the store has {len(same)} of them: name one by 16 digits of its root hash"
        raise BootunionError(_CODE, text, subject=named.text)
    return best


def is_whole(above: Sequence[Manifest], listed: Sequence[Layer], without: Sequence[Named]) -> bool:
    """Whether all of a list is there: none of its packages is replaced or left out."""
    names = {(one.name, one.architecture) for one in above}
    return not without and not any((one.name, one.architecture) in names for one in listed)


def missing(named: Named) -> BootunionError:
    """The refusal of a package that nobody has."""
    return BootunionError("package-missing", "the system's store has none", subject=named.text)


def unite(
    above: Sequence[Manifest], listed: Sequence[Layer], without: Sequence[Named],
    whole: Layer | None = None,
) -> tuple[Layer, ...]:  # fmt: skip
    """The layers, top first: the packages that were asked for, then the list's.

    A package takes the place of the list's of the same name and architecture. With `whole`, an
    index that comes below, there may be none. Raises BootunionError
    package-missing or helper-request-invalid.
    """
    for named in without:
        if not any(named.fits(layer) for layer in listed):
            text = "is not on the list, so it cannot be left out"
            raise BootunionError("package-missing", text, subject=named.text)
    asked = [Layer(one.name, one.version, one.architecture, one.image) for one in above]
    taken = {(layer.name, layer.architecture) for layer in asked}
    if len(taken) < len(asked):
        raise BootunionError(_CODE, "two versions of one package cannot be in one root")
    kept = [
        layer for layer in listed
        if (layer.name, layer.architecture) not in taken
        and not any(named.fits(layer) for named in without)
    ]  # fmt: skip
    layers = (*asked, *kept)
    if not layers and whole is None:
        raise BootunionError(_CODE, "no package is left to make a root of")
    if len({layer.image.root_hash for layer in layers}) < len(layers):
        raise BootunionError(_CODE, "one image would be there twice, under two names")
    return layers
