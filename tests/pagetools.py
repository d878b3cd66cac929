"""What the tests of the pages share: the pages by name, and hands on their tables and filters."""

import functools
import json
from collections.abc import Callable
from typing import Any

import pagevalues
from browser import Browser

from bootunion.host import bootreport
from bootunion.host.pages import boot_page, plan_page

Open = Callable[[str], Browser]


def boot_value() -> dict[str, Any]:
    """A boot of three layers after one generation that was passed over, with every trouble."""
    return bootreport.parse(json.dumps(pagevalues.report()).encode(), subject="x").as_json()


PAGES = {
    "broken": lambda: plan_page(pagevalues.broken()),
    "hostile": lambda: plan_page(pagevalues.hostile()),
    "empty": lambda: plan_page(pagevalues.plan([], [])),
    "many": lambda: plan_page(pagevalues.large(194, 1200)),
    "boot": lambda: boot_page(boot_value()),
}


@functools.cache
def page(name: str) -> str:
    return PAGES[name]()


def visible(running: Browser, table: str) -> list[list[str]]:
    """The text of a table's rows."""
    found: list[list[str]] = running.ask(
        f"[...document.querySelectorAll('#{table}-table tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return found


def fill(running: Browser, name: str, text: str) -> list[list[str]]:
    """Type into a filter; the contested paths that are left."""
    running.ask(f"document.querySelector('#filter-{name}').focus()")
    running.ask(f"document.querySelector('#filter-{name}').select()")
    running.write(text)
    return visible(running, "contested")


def toggle(running: Browser, name: str, value: str) -> list[list[str]]:
    running.ask(f"document.querySelector('[data-filter={name}][value={value}]').click()")
    return visible(running, "contested")
