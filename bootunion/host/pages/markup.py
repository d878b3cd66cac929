"""Elements as values: a child that is no `Html` is text, and text is always made harmless."""

from __future__ import annotations

import html
from collections.abc import Iterable

from bootunion.text import escaped, printable

_VOID = frozenset({"br", "col", "input", "link", "meta"})


class Html(str):
    """Markup that may stand in a page as it is. Made by this module only."""

    __slots__ = ()


Child = Html | str | int | None
Attribute = str | int | float | bool | None


def text(value: str) -> Html:
    """Text for an element's content; what was escaped is marked, so that nothing is mistaken."""
    if value.isprintable():
        return Html(html.escape(value, quote=False))
    return Html("".join(
        html.escape(char, quote=False) if char.isprintable()
        else f'<span class="odd">{escaped(char)}</span>'
        for char in value
    ))  # fmt: skip


def join(children: Iterable[Child]) -> Html:
    """Children one after the other."""
    return Html("".join(content(one) for one in children))


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """An element. `class_` is written class, `aria_label` aria-label; None and False leave out."""
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{''.join(content(one) for one in children)}</{name}>")


def content(child: Child) -> str:
    """A child as it stands in an element."""
    if isinstance(child, Html):
        return child
    return "" if child is None else text(str(child))


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    shown = f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
    return f' {name}="{attribute(shown)}"'


def attribute(value: str | int) -> str:
    """A value as it stands between an attribute's quotes."""
    return html.escape(printable(value)) if isinstance(value, str) else str(value)
