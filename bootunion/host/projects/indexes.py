"""Finds wheels: in directories, on pages of links, and in indexes (simple API, PEP 503, PEP 691).

Nothing that an index says is believed but where a file may be: what comes is held against the
digests that the project's lock names.
"""

from __future__ import annotations

import contextlib
import html.parser
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from packaging.utils import canonicalize_name

from ..fetch import sources, transfer
from ..fetch.sources import SourceError, Stream, WebServer
from .pipconfig import PipConfig
from .wanted import Candidate

_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, application/vnd.pypi.simple.v1+html; q=0.2, text/html; q=0.1"
_MOST_PAGE = 64 << 20
_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!_-]{0,240}\.whl\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class Web(WebServer):
    """Web servers as pip is told to reach them, and files by file://. For one thread."""

    def __init__(self, config: PipConfig) -> None:
        super().__init__("", config.timeout)
        self.name = "pip's sources"
        self._trusted = config.trusted_hosts
        session = self.session
        session.headers["Accept-Encoding"] = "identity"
        if config.cert:
            session.verify = config.cert
        if config.client_cert:
            session.cert = config.client_cert
        if config.proxy:
            session.proxies = {"http": config.proxy, "https": config.proxy}

    @contextlib.contextmanager
    def get(self, place: str, start: int = 0, accept: str = "*/*") -> Iterator[Stream]:
        """Read an address or an absolute path. Raises SourceError."""
        path = local(place)
        if path is not None:
            with sources.open_file(path, start) as stream:
                yield stream
            return
        parts = urlsplit(place)
        if parts.scheme not in ("http", "https"):
            raise SourceError(f"{parts.scheme}:// is none of http://, https://, file://")
        verify: Any = None
        if parts.netloc.rpartition("@")[2] in self._trusted or parts.hostname in self._trusted:
            verify = False
        with self.open_url(place, start, headers={"Accept": accept}, verify=verify) as stream:
            yield stream


def local(place: str) -> Path | None:
    """The file that a place means on this machine; None for an address of another one."""
    if "://" not in place:
        return Path(place)
    parts = urlsplit(place)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return None


def in_links(web: Web, place: str) -> list[Candidate]:
    """The wheels of a directory or a page of links. Raises SourceError."""
    path = local(place)
    if path is not None and path.is_dir():
        return [Candidate(one.name, str(one), size=one.stat().st_size)
                for one in sorted(path.glob("*.whl"))]  # fmt: skip
    if path is not None and path.suffix == ".whl":
        return [Candidate(path.name, str(path))]
    return list(_page(web, place))


def in_index(web: Web, index: str, project: str) -> list[Candidate]:
    """The wheels that an index has of a project; none where it has none. Raises SourceError."""
    place = f"{index.rstrip('/')}/{canonicalize_name(project)}/"
    path = local(place)
    if path is not None:
        place = (path / "index.html").as_uri()
    try:
        return list(_page(web, place))
    except SourceError as error:
        if error.missing:
            return []
        raise


def _page(web: Web, place: str) -> Iterator[Candidate]:
    def read(_: object) -> bytes:
        data = bytearray()
        with web.get(place, accept=_ACCEPT) as stream:
            for chunk in stream.chunks:
                data += chunk
                if len(data) > _MOST_PAGE:
                    raise SourceError(f"has more than {_MOST_PAGE} bytes at {place}")
        if len(data) < stream.size:
            raise SourceError("breaks off", passing=True)
        return bytes(data)

    data = transfer.patiently(web, read)
    try:
        # PEP 691 says so in a header; a mirror that is a directory of files has none.
        if data.lstrip()[:1] == b"{":
            yield from _from_json(json.loads(data), place)
        else:
            yield from _from_html(data.decode("utf-8", "replace"), place)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SourceError(f"has no list of files at {place}") from None


def _from_json(page: Mapping[str, Any], place: str) -> Iterator[Candidate]:
    for one in page["files"]:
        digest = one.get("hashes", {}).get("sha256", "")
        size = one.get("size", 0)
        yield from _candidate(one["filename"], urljoin(place, one["url"]), digest, size)


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if href and tag == "a":
            self.found.append(href)
        elif href and tag == "base" and not self.base:
            self.base = href


def _from_html(text: str, place: str) -> Iterator[Candidate]:
    links = _Links()
    links.feed(text)
    base = urljoin(place, links.base)
    for link in links.found:
        address, _, fragment = urljoin(base, link).partition("#")
        digest = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
        yield from _candidate(
            unquote(urlsplit(address).path).rpartition("/")[2], address, digest, 0
        )


def _candidate(name: object, place: str, digest: object, size: object) -> Iterator[Candidate]:
    if isinstance(name, str) and _WHEEL.match(name):
        known = isinstance(digest, str) and _SHA256.match(digest)
        yield Candidate(
            name, place, str(digest) if known else "", size if isinstance(size, int) else 0
        )
