"""Composes a list: packages from apt and from directories, the generated layer, the signature."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bootunion import contents, dsse, merge, package, plan, systemlist, trust
from bootunion.errors import BootunionError
from bootunion.manifest import Manifest
from bootunion.merge import Namespace
from bootunion.systemlist import Layer, Shadowing, SystemList

from . import (
    approving,
    apt,
    build,
    configure,
    generated,
    importer,
    namespace,
    packaging,
    reproducible,
)
from .configure import Progress
from .index import making
from .packaging import Description
from .sandbox import Sandbox
from .signing import Signer
from .store import Store
from .systemyaml import System

_MODULES = "usr/lib/modules/"
_ZSTD_KERNEL = (6, 10)  # fs/erofs/Kconfig, EROFS_FS_ZIP_ZSTD


class Workshop(NamedTuple):
    """What composing works with."""

    store: Store
    cache: Path
    package_signer: Signer
    list_signer: Signer
    trusted: trust.Trust
    jobs: int = 0
    make_sandbox: Callable[[Path], Sandbox] = configure.sandbox


def compose(system: System, shop: Workshop, progress: Progress) -> SystemList:
    """Make and sign the next generation of `system`'s list.

    Raises BootunionError; packages that were finished stay in the store, everything else is as
    it was.
    """
    namespace.require_root("composing")
    _check_local(system)
    created = _created()
    shop.store.create()
    debs = _download(system, shop, progress)
    manifests = _packages(system, shop, debs, progress)
    layers = tuple(_layer(one, system) for one in manifests)
    draft = system.as_list(shop.store.next_generation(system.name), created, layers)
    below = merge.merge(shop.store.entries(one) for one in manifests)
    _check_kernel(system, kernel_release(below))
    # Before the scripts, which take longest; what they hide of packages needs no approval.
    approving.check(system.approve, below, [one.name for one in manifests])
    extra = _generated(system, shop, draft, below, progress)
    complete = (extra, *manifests)
    merged = merge.merge(shop.store.entries(one) for one in complete)
    finished = draft._replace(
        layers=(_layer(extra, system), *layers),
        kernel=kernel_release(merged),
        namespace=merged.digest([one.image.root_hash for one in complete]),
        shadowings=(
            *_declared(merged, complete),
            *approving.shadowings(system.approve, merged, [one.name for one in complete]),
        ),
    )
    if system.union == plan.UNION_INDEX:
        progress.stage("making the index", 0)
        index = making.make(shop.store, finished, merged, shop.package_signer)
        finished = finished._replace(index_layer=index)
    _publish(finished, shop)
    return finished


def _check_kernel(system: System, release: str) -> None:
    newest = system.format == package.EROFS_ZSTD
    if newest and release and not plan.is_at_least(release, _ZSTD_KERNEL):
        text = f"the list is for kernel {release}, and {system.format} needs Linux 6.10 or later"
        raise BootunionError("kernel-too-old", text, subject=system.name)


def _download(system: System, shop: Workshop, progress: Progress) -> Sequence[Path]:
    progress.stage("reading apt's package indexes", 0)
    with apt.private(shop.cache, system.suites, system.sources, system.architecture) as tool:
        tool.update()
        found = tool.resolve(system.packages)
        if found.sizes:
            progress.stage("downloading packages", len(found.sizes))
            tool.download(system.packages, progress.step)
    return found.debs


def _packages(
    system: System, shop: Workshop, debs: Sequence[Path], progress: Progress
) -> list[Manifest]:
    """The packages, top first: the system.yaml's local ones in their order, then apt's by name."""
    files = [one.path for one in system.local if not one.name]
    progress.stage("importing packages", len(debs) + len(system.local))
    known = importer.known_manifests(shop.store, shop.trusted)
    imported = importer.import_debs(
        [*files, *debs], shop.store, shop.package_signer, progress.step,
        known=known, jobs=shop.jobs, image_format=system.format,
    )  # fmt: skip
    from_files = dict(zip(files, imported, strict=False))
    local = []
    for one in system.local:
        if one.name:
            about = Description(one.name, one.version, "all")
            local.append(
                packaging.write_package(
                    shop.store,
                    build.members(one.path),
                    about,
                    None,
                    shop.package_signer,
                    image_format=system.format,
                )
            )
            progress.step(one.name)
        else:
            local.append(from_files[one.path])
    return [*local, *sorted(imported[len(files) :], key=lambda made: made.name)]


def _layer(made: Manifest, system: System) -> Layer:
    return Layer(made.name, made.version, made.architecture, made.image, system.need(made.name))


def _check_local(system: System) -> None:
    """Refuse at once what would be found missing only after the downloads."""
    for one in system.local:
        if not (one.path.is_dir() if one.name else one.path.is_file()):
            what = "directory" if one.name else ".deb file"
            text = f"there is no such {what} for `local`"
            raise BootunionError("file-missing", text, subject=str(one.path))


def _created() -> int:
    """The list's time: SOURCE_DATE_EPOCH when it is set, now otherwise.

    Raises BootunionError environment-invalid: the specification wants no guess
    (reproducible-builds.org/specs/source-date-epoch).
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        return int(time.time())
    if not (given.isascii() and given.isdecimal()) or int(given) > systemlist.MAX_TIME:
        text = f"SOURCE_DATE_EPOCH is {given!r}, which are no seconds since 1970"
        raise BootunionError("environment-invalid", text)
    return int(given)


def _generated(
    system: System, shop: Workshop, draft: SystemList, below: Namespace, progress: Progress
) -> Manifest:
    """The generated layer of the packages in `draft`."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(shop.store.workspace())
        if system.union == plan.UNION_INDEX:
            # The scripts' union may have more layers than one overlay takes, too.
            progress.stage("making the index for the scripts", 0)
            made = making.temporary(shop.store, draft, below, shop.package_signer)
            draft = stack.enter_context(made)
        where = directory.resolve()
        workspace, upper = where / "union", where / "upper"
        upper.mkdir()
        # No dm-verity here: every block of every package was just hashed, by importing it or
        # by `known_manifests`.
        steps = plan.for_namespace(draft, str(workspace), upper=str(upper), verity=False)

        # The scripts run in another process: where they are has to be told from there.
        inside = Progress(
            lambda what, total: namespace.tell((what, total)), lambda name: namespace.tell((name,))
        )

        def hear(words: tuple[str, int] | tuple[str]) -> None:
            if len(words) == 2:
                progress.stage(*words)
            else:
                progress.step(*words)

        def scripts(root: Path) -> None:
            box = shop.make_sandbox(root)
            configure.configure(box, system.commands, system.architecture, inside)

        def work() -> None:
            namespace.in_union(shop.store.path, steps, workspace / "root", scripts)

        progress.stage("uniting the packages", 0)
        namespace.in_namespace(work, network=False, hear=hear)
        progress.stage("making the generated layer", 0)
        markers = generated.clean(upper / "upper", below, system.allow_whiteouts)
        about = Description(
            systemlist.generated_name(system.name), _inputs_version(system, draft),
            system.architecture,
            "What no single package holds: made by the maintainer scripts when composing",
        )  # fmt: skip
        return packaging.write_package(
            shop.store, generated.stream(upper / "upper"), about, None,
            shop.package_signer, kind="generated", markers=markers, image_format=system.format,
        )  # fmt: skip


def _declared(merged: Namespace, complete: Sequence[Manifest]) -> tuple[Shadowing, ...]:
    """What the generated layer takes away from packages, to be declared in the signed list."""
    return tuple(
        Shadowing(f"/{one.path}", complete[0].name, complete[loser].name)
        for one in merged.markers if one.layer == 0
        for loser in one.losers
    )  # fmt: skip


def _inputs_version(system: System, draft: SystemList) -> str:
    """The generated layer's version: a digest of all that it is made from."""
    asked = f"{reproducible.EPOCH}\n{system.commands!r}\n{system.allow_whiteouts!r}\n"
    state = hashlib.sha256(asked.encode())
    for layer in draft.layers:
        state.update(f"{layer.image.root_hash}\n".encode())
    return state.hexdigest()[:12]


def kernel_release(merged: Namespace) -> str:
    """The release of the one kernel whose modules the union has, "" for none or several."""
    found = {
        path.removeprefix(_MODULES).partition("/")[0]
        for path, (_, entry) in merged.paths.items()
        if path.startswith(_MODULES)
        and path.endswith("/modules.dep")
        and entry.type == contents.FILE
    }
    return found.pop() if len(found) == 1 else ""


def _publish(finished: SystemList, shop: Workshop) -> None:
    envelope = shop.list_signer(finished.encode(), systemlist.PAYLOAD_TYPE)
    subject = finished.title
    # A list that its own trust store refuses is a mistake with the keys: better now than at boot.
    payload, _ = trust.open_envelope(
        shop.trusted, trust.ROLE_LIST, dsse.decode(envelope, subject=subject), subject=subject
    )
    if systemlist.decode(payload, subject=subject) != finished:
        raise BootunionError("list-invalid", "does not read back as written", subject=subject)
    shop.store.add_list(finished.name, finished.generation, envelope)
