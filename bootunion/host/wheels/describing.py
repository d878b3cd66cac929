"""What a wheel says of itself: file name, WHEEL and METADATA, which have to agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from bootunion.errors import BootunionError
from bootunion.plan import ARCHITECTURES

from ..packaging import Description
from . import versions
from .archive import Archive
from .interpreter import Interpreter

if TYPE_CHECKING:
    from email.message import Message

_MOST_RELATIONS = 4096


class Named(NamedTuple):
    """What a wheel's file name says (PEP 491, "File name convention")."""

    project: str
    version: Version
    tags: frozenset[Tag]


class Said(NamedTuple):
    """A wheel's .dist-info and .data directories, whether it is pure, and the manifest's part."""

    dist_info: str
    data: str
    pure: bool
    about: Description


def parse_name(file_name: str) -> Named:
    """The parts of a wheel's file name. Raises BootunionError wheel-invalid."""
    try:
        project, version, _, tags = parse_wheel_filename(file_name)
    except (InvalidWheelFilename, InvalidVersion) as error:
        raise BootunionError("wheel-invalid", str(error), subject=file_name) from None
    return Named(project, version, tags)


def rank(tags: frozenset[Tag], interpreter: Interpreter) -> int:
    """How well a wheel fits: the place of its best tag, 0 the best; -1 when it does not fit."""
    named = {str(tag) for tag in tags}
    return next((place for place, tag in enumerate(interpreter.tags) if tag in named), -1)


def read(archive: Archive, interpreter: Interpreter) -> Said:
    """What the wheel says. Raises BootunionError wheel-invalid, wheel-unfit, name-invalid."""
    named = parse_name(archive.name)
    if rank(named.tags, interpreter) < 0:
        text = f"is not for Python {interpreter.version} on this machine"
        raise BootunionError("wheel-unfit", text, subject=archive.name)
    dist_info = _dist_info(archive, named)
    pure = _check_wheel(archive, f"{dist_info}/WHEEL")
    metadata = _message(archive, f"{dist_info}/METADATA")
    if canonicalize_name(_field(metadata, "Name")) != named.project:
        archive.refuse(
            f"is called {named.project}, and says that it is {_field(metadata, 'Name')!r}"
        )
    try:
        same = Version(_field(metadata, "Version")) == named.version
    except InvalidVersion:
        same = False
    if not same:
        archive.refuse(f"is called {named.version}, and says {_field(metadata, 'Version')!r}")
    _check_python(archive, _field(metadata, "Requires-Python"), interpreter)
    about = Description(
        versions.package_name(named.project), versions.package_version(named.version),
        _architecture(archive, named), _field(metadata, "Summary")[:1024],
        _depends(archive, metadata, interpreter),
    ).check()  # fmt: skip
    return Said(dist_info, f"{dist_info.removesuffix('.dist-info')}.data", pure, about)


def _dist_info(archive: Archive, named: Named) -> str:
    tops = {name.partition("/")[0] for name in archive.files if "/" in name}
    found = [top for top in tops if top.endswith(".dist-info")]
    if len(found) != 1:
        archive.refuse(f"has {len(found)} directories .dist-info instead of 1")
    project, _, version = found[0].removesuffix(".dist-info").rpartition("-")
    try:
        fits = canonicalize_name(project) == named.project and Version(version) == named.version
    except InvalidVersion:
        fits = False
    if not fits:
        archive.refuse(f"has {found[0]}, which is another project's or version's")
    return found[0]


def _message(archive: Archive, name: str) -> Message:
    import email  # noqa: PLC0415 - a project whose packages are all there reads no wheel

    return email.message_from_bytes(archive.read(name))


def _field(message: Message, key: str) -> str:
    return _readable(message.get(key, ""))


def _readable(value: object) -> str:
    # What was no UTF-8 comes as a Header, or with surrogates.
    text = " ".join(str(value).split())
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _check_wheel(archive: Archive, name: str) -> bool:
    message = _message(archive, name)
    version = _field(message, "Wheel-Version")
    if version.partition(".")[0] != "1":
        archive.refuse(f"is of the format {version!r}; 1.x is known")
    return _field(message, "Root-Is-Purelib").lower() == "true"


def _check_python(archive: Archive, wanted: str, interpreter: Interpreter) -> None:
    try:
        fits = SpecifierSet(wanted).contains(interpreter.version, prereleases=True)
    except InvalidSpecifier:
        archive.refuse(f"asks for the Python {wanted[:80]!r}")
    if not fits:
        archive.refuse(f"asks for Python {wanted}, this is {interpreter.version}", "wheel-unfit")


def _architecture(archive: Archive, named: Named) -> str:
    platforms = {tag.platform for tag in named.tags}
    if platforms == {"any"}:
        return "all"
    fitting = (
        names[0]
        for machine, names in ARCHITECTURES.items()
        if all(platform.endswith(f"_{machine}") for platform in platforms)
    )
    found = next(fitting, "")
    if not found:
        archive.refuse(f"is for {', '.join(sorted(platforms))[:200]}, which is unknown here")
    return found


def _depends(archive: Archive, metadata: Message, interpreter: Interpreter) -> tuple[str, ...]:
    found: list[str] = []
    for text in metadata.get_all("Requires-Dist", []):
        try:
            one = Requirement(_readable(text))
            environment = {**interpreter.markers, "extra": ""}
            if one.marker is None or one.marker.evaluate(environment):
                found += versions.relations(one)
        except (InvalidRequirement, UndefinedEnvironmentName) as error:
            archive.refuse(f"has a Requires-Dist that cannot be read: {str(error)[:200]}")
    if len(found) > _MOST_RELATIONS:
        archive.refuse(f"depends on {len(found)} packages")
    return tuple(dict.fromkeys(found))
