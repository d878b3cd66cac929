"""The pages for everybody: by keyboard, read aloud, in any light, on a narrow window, on paper."""

import importlib.resources

import pagevalues
import pytest
from pagetools import PAGES, Open, visible

from bootunion.host.pages import plan_page

AXE = importlib.resources.files("axe_core_python") / "axe.min.js"
SCHEMES = ("light", "dark")


def test_the_keyboard_is_enough(show: Open) -> None:
    running = show("broken")
    running.tab()
    assert running.ask("document.activeElement.className") == "skip"
    assert running.ask("document.activeElement.getBoundingClientRect().left >= 0")
    running.press("Enter", 13, "\r")
    assert running.ask("document.activeElement.id") == "content"
    for _ in range(60):
        running.tab()
        if running.ask("document.activeElement.closest('#layers thead')?.tagName") == "THEAD":
            break
    assert running.ask("document.activeElement.textContent") == "#"
    assert running.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    running.tab(3)
    running.press("Enter", 13, "\r")
    assert visible(running, "layers")[0][3] == "8.0 KiB"
    running.press("Enter", 13, "\r")
    assert visible(running, "layers")[0][3] == "101.6 MiB"
    for _ in range(60):
        running.tab()
        if running.ask("document.activeElement.id") == "filter-path":
            break
    running.write("mount")
    assert len(visible(running, "contested")) == 1
    running.tab(2)
    running.press(" ", 32, " ")
    assert running.ask("document.activeElement.checked") is False


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_to_blame(show: Open, name: str, scheme: str) -> None:
    running = show(name)
    running.prefer(prefers_color_scheme=scheme)
    running.ask(AXE.read_text(encoding="utf-8") + "; 0")
    found = running.ask(
        "axe.run(document, {resultTypes: ['violations']}).then(said => said.violations.map("
        "one => [one.id, one.help, one.nodes.slice(0, 3).map(node => node.html)]))"
    )
    assert found == []


@pytest.mark.parametrize("media", [*SCHEMES, "print"])
@pytest.mark.parametrize("name", ["broken", "many", "boot"])
def test_the_words_of_the_drawings_can_be_read(show: Open, name: str, media: str) -> None:
    """axe does not look into drawings: 4.5 to 1 for words, 3 to 1 for bars (WCAG 1.4.3, 1.4.11)."""
    running = show(name)
    if media == "print":
        running.prefer("print")
    else:
        running.prefer(prefers_color_scheme=media)
    colours = running.ask(
        "[...document.querySelectorAll('svg.plot text, svg.plot rect')].map(one =>"
        " [one.tagName, getComputedStyle(one).fill, getComputedStyle(one).stroke])"
    )
    paper = running.ask("getComputedStyle(document.body).backgroundColor")
    assert colours
    for kind, fill_colour, stroke in {tuple(one) for one in colours}:
        least = 4.5 if kind == "text" else 3
        told = [one for one in (fill_colour, stroke) if one.startswith("rgb")]
        # A pattern has its colour from its own path.
        told += [running.ask(
            f"getComputedStyle(document.querySelector('{one[5:-2]} path')).stroke"
        ) for one in (fill_colour,) if one.startswith("url")]  # fmt: skip
        assert max(contrast(one, paper) for one in told) >= least, (kind, fill_colour, stroke)


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast of two colours as `rgb(…)`."""
    light = sorted(map(luminance, (one, other)), reverse=True)
    return (light[0] + 0.05) / (light[1] + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_programs_that_read_aloud_find_their_way(show: Open) -> None:
    running = show("broken")
    nodes = running.call("Accessibility.getFullAXTree")["nodes"]
    seen = [(node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes if not node["ignored"]]  # fmt: skip
    roles = [role for role, _ in seen]
    for landmark in ("banner", "main", "contentinfo", "search"):
        assert roles.count(landmark) == 1, landmark
    assert ("navigation", "Contents") in seen
    titles = [name for role, name in seen if role == "region"]
    assert {"Findings", "Changes", "The stack", "Layers", "Contested paths"} <= set(titles)
    tables = [name for role, name in seen if role == "table"]
    assert len(tables) == 6
    assert all(tables)
    (picture,) = [name for role, name in seen if role in ("image", "img")]
    assert "10 layers" in picture
    assert "linux-image with 101.6 MiB" in picture
    for role in ("searchbox", "checkbox", "button", "link", "columnheader", "rowheader"):
        names = [name for found, name in seen if found == role]
        assert names, role
        assert all(names), role


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_narrow_window(show: Open, name: str) -> None:
    running = show(name)
    running.size(360, 700)
    assert running.ask("document.documentElement.scrollWidth") <= 360


def test_paper_is_white_and_has_no_buttons(show: Open) -> None:
    running = show(plan_page(pagevalues.many_findings()))
    running.prefer("print", prefers_color_scheme="dark")
    assert running.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for hidden in (".filters", "nav", "footer ~ .skip, .skip"):
        assert (
            running.ask(f"getComputedStyle(document.querySelector('{hidden}')).display") == "none"
        )
    assert running.ask("getComputedStyle(document.querySelector('thead')).display") == (
        "table-header-group")  # fmt: skip
    assert running.paper().startswith(b"%PDF")
    # What is folded on the screen is not on paper.
    running.ask("dispatchEvent(new Event('beforeprint'))")
    assert running.ask("document.querySelector('details li').offsetHeight > 0")


def test_who_wants_no_motion_gets_none(show: Open) -> None:
    running = show("empty")
    asked = "getComputedStyle(document.documentElement).scrollBehavior"
    assert running.ask(asked) == "smooth"
    running.prefer(prefers_reduced_motion="reduce")
    assert running.ask(asked) == "auto"
