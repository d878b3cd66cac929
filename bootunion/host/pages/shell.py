"""The frame of a page: a policy that forbids every request, the style, the script, landmarks."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

from .markup import Child, Html, join, tag

# An icon that is in the page: a browser asks the server for one otherwise.
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Cpath d='M1 2h14v3H1zm0 4.5h9v3H1zM1 11h12v3H1z' fill='%233b6ea8'/%3E%3C/svg%3E"
)


class Section(NamedTuple):
    """A part of a page: `note` stands beside its name in the contents, such as a count."""

    id: str
    title: str
    note: str
    body: Html


def document(title: str, header: Html, sections: Sequence[Section], footer: Html) -> str:
    """A whole page."""
    style, script = _file("page.css"), _file("tables.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        # Before anything that it governs.
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("link", rel="icon", href=_ICON),
        tag("style", Html(style)),
    )
    body = tag(
        "body",
        tag("a", "Skip to the content", href="#content", class_="skip"),
        header,
        _contents(sections),
        tag("main", *(_section(one) for one in sections), id="content", tabindex=-1),
        tag("footer", footer),
        tag("script", Html(script)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def masthead(command: str, name: str, known: Html, *said: Child, good: bool) -> Html:
    """A page's head: what made it, what it is about, the verdict in words, and what is known."""
    sign = tag("span", "✓" if good else "✗", class_="sign", aria_hidden="true")
    return tag(
        "header",
        tag("p", command, class_="eyebrow"),
        tag("h1", name),
        tag("p", sign, *said, class_=f"verdict {'yes' if good else 'no'}"),
        known,
    )


def _contents(sections: Sequence[Section]) -> Html:
    links = join(
        tag("li", tag("a", one.title, href=f"#{one.id}"),
            tag("span", f" {one.note}", class_="note") if one.note else None)
        for one in sections
    )  # fmt: skip
    return tag("nav", tag("ul", links), aria_label="Contents")


def _section(one: Section) -> Html:
    heading = tag("h2", one.title, id=f"{one.id}-title")
    return tag("section", heading, one.body, id=one.id, aria_labelledby=f"{one.id}-title")


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return f"sha256-{digest}"
