"""Imports .debs into a store: several at once, each at most once."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from bootunion import manifest, trust
from bootunion.errors import BootunionError
from bootunion.manifest import Manifest, Source

from . import deb, packaging
from .packaging import Sign
from .store import Store

Progress = Callable[[str], None]
"""Called with a package's name when it is in the store."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_MOST_NAMED = 10


def import_debs(
    files: Sequence[Path], store: Store, signer: Sign, progress: Progress, *,
    known: Iterable[Manifest] = (), jobs: int = 0,
) -> list[Manifest]:  # fmt: skip
    """Import each of `files`; the manifests come in the order of `files`.

    A .deb that `known` has by its SHA-256 is not imported again. All that can be imported are, and
    stay: each is complete. Then a BootunionError names every bad file, with the first one's code.
    """
    by_source = {one.source.sha256: one for one in known if one.source.kind == "deb"}
    wanted = list(dict.fromkeys(files))
    workers = min(jobs or os.cpu_count() or 1, len(wanted)) or 1
    # Where each core has a .deb of its own, more threads would only wait for each other.
    threads = 1 if workers > 1 else 0
    done: dict[Path, Manifest] = {}
    errors: dict[Path, BootunionError] = {}
    with _pool(workers) as pool:
        waiting: dict[Future[Manifest], Path] = {
            pool.submit(_import_one, file, store.path, signer, by_source, threads): file
            for file in sorted(wanted, key=_size, reverse=True)
        }
        for future in as_completed(waiting):
            file = waiting[future]
            try:
                done[file] = future.result()
                progress(done[file].name)
            except BootunionError as error:
                errors[file] = error
            except BrokenProcessPool:
                text = "a process that imports was killed"
                raise BootunionError("program-failed", text, subject=file.name) from None
    if errors:
        raise _all_of(errors, wanted)
    return [done[file] for file in files]


def _size(file: Path) -> int:
    # The largest first: a large one that begins last would keep one core busy alone.
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _all_of(errors: dict[Path, BootunionError], order: Sequence[Path]) -> BootunionError:
    ordered = [errors[file] for file in order if file in errors]
    if len(ordered) == 1:
        return ordered[0]
    words = [str(error) for error in ordered[:_MOST_NAMED]]
    if len(ordered) > _MOST_NAMED:
        words.append(f"and {len(ordered) - _MOST_NAMED} more")
    text = f"{len(ordered)} files were not imported: {'; '.join(words)}"
    return BootunionError(ordered[0].code, text)


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool that, left by an exception, stops its workers' packages instead of finishing them."""
    with ProcessPoolExecutor(workers, initializer=_start_worker) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            raise


class _Worker:
    """What a worker process knows about itself."""

    busy = False
    stopping = False


def _start_worker() -> None:
    for number in _SIGNALS:
        signal.signal(number, _stop)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    # When the parent is killed there is nobody left to hand out work, or to end this process.
    multiprocessing.connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _stop(*_: object) -> None:
    """A signal: leave the package, so that its workspace is removed; take no other."""
    again, _Worker.stopping = _Worker.stopping, True
    if _Worker.busy and not again:  # Ctrl-C comes from the terminal and from the parent
        raise KeyboardInterrupt
    if multiprocessing.connection.wait([_parent_sentinel()], 0):
        os._exit(1)


def _parent_sentinel() -> int:
    parent = multiprocessing.parent_process()
    assert parent is not None
    return parent.sentinel


def _import_one(
    file: Path, store: Path, signer: Sign, by_source: dict[str, Manifest], threads: int
) -> Manifest:
    _Worker.busy = True
    try:
        if _Worker.stopping:
            raise KeyboardInterrupt
        return import_deb(file, store, signer, by_source, threads)
    finally:
        _Worker.busy = False


def import_deb(
    file: Path, store: Path, signer: Sign, by_source: dict[str, Manifest], threads: int = 0
) -> Manifest:
    """Import one .deb, compressing with `threads` (0: all cores).

    Raises BootunionError deb-invalid, member-invalid, path-conflict, overlay-marker, disk-full …
    """
    control = deb.read_control(file)
    try:
        sha256 = packaging.digest(file)
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise BootunionError("file-missing", text, subject=str(file)) from None
    found = by_source.get(sha256)
    if found is not None:
        return found
    # A manifest has no control characters in names; the digest says which file it was.
    name = "".join(char if char.isprintable() else "?" for char in file.name)[:255]
    return packaging.write_package(
        Store(store),
        deb.members(file, control),
        deb.describe(control),
        Source("deb", name, sha256),
        signer,
        processors=threads,
    )


def known_manifests(store: Store, trusted: trust.Trust) -> list[Manifest]:
    """The packages of a store that are signed and whole; others are passed over."""
    found = []
    for stem in store.stems():
        try:
            payload, _ = trust.open_envelope(
                trusted, trust.ROLE_PACKAGE, store.envelope(stem), subject=stem
            )
            described = manifest.decode(payload, subject=stem)
            manifest.check_stem(described, stem)
            image = store.packages / described.file_name
            packaging.check_image(image, described.image, subject=stem)
        except (BootunionError, OSError):
            continue
        found.append(described)
    return found
