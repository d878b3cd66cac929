"""Where packages and lists are fetched from: directories and web servers, by one interface.

Whatever a source says is checked by who asked: here only lengths and ranges are held to the word.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol
from urllib.parse import quote, unquote, urlsplit

import requests
import urllib3

from bootunion import __version__
from bootunion.errors import BootunionError

_CHUNK = 1 << 18
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)\Z")
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
DEFAULT_TIMEOUT = 20.0


class SourceError(Exception):
    """A source does not give a file. `passing`: it may the next time; `missing`: it has none."""

    def __init__(self, text: str, *, passing: bool = False, missing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing
        self.missing = missing


class Stream(NamedTuple):
    """A file on its way: it begins at byte `offset` of `size` (-1: the source did not say)."""

    offset: int
    size: int
    chunks: Iterator[bytes]


class Source(Protocol):
    """A tree to fetch from."""

    name: str

    def open(
        self, path: str, start: int = 0, end: int = 0
    ) -> contextlib.AbstractContextManager[Stream]:
        """Read the file at `path` (relative, `/` between names) from byte `start`.

        `end` (exclusive) tells that no more is wanted, 0 that all is. A source may begin at 0
        although another start was asked for. Reading raises SourceError.
        """


def parse(text: str, *, timeout: float = DEFAULT_TIMEOUT) -> Source:
    """A source from what a person writes: a directory, file://, http:// or https://.

    `timeout` is seconds without a byte after which a server counts as stalled. Raises
    BootunionError source-invalid.
    """
    kind = urlsplit(text).scheme
    if kind in ("http", "https"):
        return WebServer(text, timeout)
    if kind == "file":
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise BootunionError("source-invalid", "names another host", subject=text)
        return Directory(Path(unquote(parts.path)))
    if "://" in text:
        wrong = f"{kind}:// is none of http://, https://, file://"
        raise BootunionError("source-invalid", wrong, subject=text)
    return Directory(Path(text).expanduser())


class Directory:
    """A directory of this machine, such as a mounted disk."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    @contextlib.contextmanager
    def open(self, path: str, start: int = 0, end: int = 0) -> Iterator[Stream]:
        """See `Source`."""
        with open_file(self._path / path, start, end) as stream:
            yield stream


@contextlib.contextmanager
def open_file(path: Path, start: int = 0, end: int = 0) -> Iterator[Stream]:
    """Read a file of this machine; as `Source.open`. Raises SourceError."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(start)
            yield Stream(start, size, _read(file.read, (end or size) - start))
    except (FileNotFoundError, NotADirectoryError):
        raise SourceError("has no such file", missing=True) from None
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}") from None


def _read(read: object, left: int) -> Iterator[bytes]:
    while left > 0 and (chunk := read(min(_CHUNK, left))):  # type: ignore[operator]
        left -= len(chunk)
        yield chunk


class WebServer:
    """A static web server. Proxies and their exceptions come from the environment, as for curl.

    Connections are kept and used again, by one thread.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self.name = url
        self._url = url.rstrip("/") + "/"
        self._timeout = timeout
        self.session = requests.Session()
        self.session.headers["User-Agent"] = f"bootunion/{__version__}"
        # Bytes as they are: a packed answer has another length and no ranges.
        self.session.headers["Accept-Encoding"] = "identity"

    @contextlib.contextmanager
    def open(self, path: str, start: int = 0, end: int = 0) -> Iterator[Stream]:
        """See `Source`."""
        with self.open_url(self._url + quote(path), start, end) as stream:
            yield stream

    @contextlib.contextmanager
    def open_url(
        self, url: str, start: int = 0, end: int = 0, *,
        headers: Mapping[str, str] = MappingProxyType({}), verify: bool | None = None,
    ) -> Iterator[Stream]:  # fmt: skip
        """As `open`, by a whole address; `verify` False takes any certificate."""
        asked = dict(headers)
        if start or end:
            asked["Range"] = f"bytes={start}-{end - 1 if end else ''}"
        with _told(), self.session.get(
            url, headers=asked, stream=True, timeout=self._timeout, verify=verify
        ) as answer:  # fmt: skip
            if answer.headers.get("Content-Encoding", "identity") != "identity":
                raise SourceError("answers with packed bytes, although none were asked for")
            yield self._stream(answer, start, end)

    def _stream(self, answer: requests.Response, start: int, end: int) -> Stream:
        status = answer.status_code
        if status == 200:
            size = int(answer.headers.get("Content-Length", "-1"))
            return Stream(0, size, _body(answer))
        if status == 206:
            found = _RANGE.match(answer.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != start or (end and int(found[2]) != end - 1):
                raise SourceError("answers with another range than was asked for")
            return Stream(start, int(found[3]), _body(answer))
        missing = status in (403, 404, 410)
        raise SourceError(f"answers {status} {answer.reason}".rstrip(),
                          passing=status in _TEMPORARY, missing=missing)  # fmt: skip


def _body(answer: requests.Response) -> Iterator[bytes]:
    # urllib3 2's `read` would wait for a whole chunk, and lose what came when the rest is missing.
    read = getattr(answer.raw, "read1", answer.raw.read)
    with _told():
        while chunk := read(_CHUNK):
            yield chunk


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn requests' exceptions into SourceError."""
    try:
        yield
    except requests.TooManyRedirects:
        raise SourceError("redirects in a circle") from None
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise SourceError("is silent for too long", passing=True) from None
    except (requests.ConnectionError, urllib3.exceptions.HTTPError) as error:
        raise SourceError(f"breaks off: {_cause(error)}", passing=True) from None
    except (requests.RequestException, ValueError) as error:
        raise SourceError(f"cannot be asked: {_cause(error)}") from None


def _cause(error: BaseException) -> str:
    """The innermost words: requests wraps urllib3, which wraps the system's error."""
    seen = error
    for _ in range(8):
        inner = getattr(seen, "reason", None) or (seen.args[-1] if seen.args else None)
        if not isinstance(inner, BaseException):
            break
        seen = inner
    return str(getattr(seen, "strerror", None) or seen)[:200]
