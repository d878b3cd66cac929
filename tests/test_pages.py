"""The pages in a real browser: they load nothing, filter, sort, print, and are readable by all."""

import contextlib
import functools
import html
import http.server
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browser
import html5lib
import pagevalues
import pytest
from browser import Browser
from composing import TOP
from test_commands import a_list, bootunion

from bootunion.host import bootreport
from bootunion.host.pages import boot_page, markup, plan_page

Open = Callable[[str], Browser]
AXE = Path(pytest.importorskip("axe_core_python").__file__).with_name("axe.min.js")
SCHEMES = ("light", "dark")


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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if browser.CHROMIUM is None:
        assert not os.environ.get("CI"), "scripts/setup.sh installs chromium"
        pytest.skip("there is no chromium")
    with browser.start() as running:
        yield running


@pytest.fixture
def show(chromium: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a page by its name, or by its text, from a file."""

    def opened(what: str) -> Browser:
        text = page(what) if what in PAGES else what
        path = tmp_path / "page.html"
        path.write_bytes(text.encode())
        chromium.open(f"file://{path}")
        return chromium

    chromium.size(1200, 900)
    chromium.prefer(prefers_color_scheme="light")
    yield opened
    chromium.scripts(True)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> tuple[dict[str, Any], str]:
    """A real plan of real packages, two of which fight: its JSON and its page."""
    top = tmp_path_factory.mktemp("planned")
    for name, content in (("aaa", "one"), ("bbb", "two")):
        tree = top / name
        (tree / "usr/bin").mkdir(parents=True)
        (tree / "usr/bin/tool").write_text(content)
        (tree / "usr/same").write_text("same")
        (tree / "usr/<b>bold").write_text(content)
        Path(os.fsdecode(os.fsencode(tree) + b"/usr/odd\xff\x1b")).write_text(content)
        bootunion("build", tree, "--name", name, "--version", "1", "--store", top / "store",
                  "--package-key", keys / "package.key")  # fmt: skip
    a_list(top / "store", keys)
    words = ["plan", "demo", "--store", top / "store", "--trust", keys / "trust"]
    told = bootunion(*words, "--json", "--html", top / "plan.html", status=5).stdout
    return json.loads(told), (top / "plan.html").read_text(encoding="utf-8")


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


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_nothing_and_has_no_complaint(show: Open, name: str) -> None:
    running = show(name)
    assert [address.partition(":")[0] for address in running.requests] == ["file"]
    assert running.console == []


def test_a_server_is_asked_for_the_page_only(chromium: Browser, tmp_path: Path) -> None:
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    (tmp_path / "page.html").write_text(page("broken"), encoding="utf-8")
    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chromium.open(f"http://127.0.0.1:{server.server_port}/page.html")
        assert visible(chromium, "layers")
        server.shutdown()
    assert asked == ["/page.html"]
    assert chromium.console == []


@pytest.mark.parametrize(
    ("directive", "attack"),
    [
        ("script-src-elem", "s = document.createElement('script'); s.text = 'bad = 1'"),
        ("style-src-elem", "s = document.createElement('style'); s.textContent = '*{}'"),
        ("img-src", "s = new Image(); s.src = 'http://127.0.0.1:9/x.png'"),
        ("frame-src", "s = document.createElement('iframe'); s.src = 'http://127.0.0.1:9/'"),
        ("connect-src", "fetch('http://127.0.0.1:9/').catch(() => 0); s = null"),
    ],
)
def test_the_policy_forbids_what_the_page_never_does(
    show: Open, directive: str, attack: str
) -> None:
    running = show("empty")
    with socket.create_server(("127.0.0.1", 0)) as server:
        attack = attack.replace("127.0.0.1:9", f"127.0.0.1:{server.getsockname()[1]}")
        found = running.ask(
            "new Promise(done => { addEventListener('securitypolicyviolation',"
            f" event => done(event.effectiveDirective)); let s; {attack};"
            " if (s) document.body.append(s) })"
        )
        assert found == directive
        # Chromium may connect beforehand where a frame is to be loaded; it must say nothing.
        server.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            connection, _ = server.accept()
            with connection:
                connection.settimeout(0.2)
                assert connection.recv(1) == b""


def test_everything_of_a_real_plan_is_on_its_page(
    show: Open, planned: tuple[dict[str, Any], str]
) -> None:
    value, text = planned
    running = show(text)
    assert running.console == []
    assert [row[1] for row in visible(running, "layers")] == [
        one["name"] for one in value["layers"]]  # fmt: skip
    rows = visible(running, "contested")
    assert [row[0] for row in rows] == [markup.plain(one["path"]) for one in value["contested"]]
    assert [row[3] for row in rows] == [one["kind"] for one in value["contested"]]
    assert {"/usr/<b>bold", "/usr/bin/tool"} < {row[0] for row in rows}
    seen = running.ask("document.querySelector('main').textContent")
    for one in (*value["findings"], *value["refusals"]):
        assert one["way_out"] in seen
        assert one["code"] in seen
    assert "does not boot" in running.ask("document.querySelector('.verdict').textContent")
    assert value["boots"] is False


def test_the_path_filter(show: Open) -> None:
    running = show("broken")
    assert len(visible(running, "contested")) == 7
    assert [row[0] for row in fill(running, "path", "/usr/BIN/")] == [
        "/usr/bin/ls", "/usr/bin/mount"]  # fmt: skip
    assert running.ask("document.querySelector('output').textContent") == "2 of 7 paths"


def test_the_package_filter_finds_winners_and_losers(show: Open) -> None:
    running = show("broken")
    rows = fill(running, "package", "base-files")
    assert [row[0] for row in rows] == [
        "/lib", "/etc/os-release", "/usr/share/common-licenses/GPL"]  # fmt: skip
    assert fill(running, "package", "#3") == []


def test_the_kind_filter(show: Open) -> None:
    running = show("broken")
    assert {row[3] for row in toggle(running, "kind", "content")} == {
        "directory-over-symlink", "metadata", "privilege", "same", "type", "whiteout"}  # fmt: skip
    assert len(toggle(running, "kind", "content")) == 7


def test_the_severity_filter(show: Open) -> None:
    running = show("broken")
    toggle(running, "severity", "info")
    assert {row[4] for row in toggle(running, "severity", "warning")} == {"fatal"}


def test_filters_work_together_and_one_button_ends_them(show: Open) -> None:
    running = show("broken")
    toggle(running, "severity", "fatal")
    fill(running, "package", "acme")
    assert [row[0] for row in fill(running, "path", "mount")] == ["/usr/bin/mount"]
    running.ask("document.querySelector('.reset').click()")
    assert len(visible(running, "contested")) == 7
    boxes = "[...document.querySelectorAll('[type=checkbox][data-filter=severity]')]"
    assert running.ask(f"{boxes}.every(box => box.checked)")


def in_bytes(size: str) -> float:
    number, unit = size.split()
    return float(number) * 1024 ** "BKM".index(unit[0])


@pytest.mark.parametrize(
    ("table", "column", "key"),
    [
        ("layers", 0, lambda row: int(row[0])),
        ("layers", 1, lambda row: row[1]),
        ("layers", 3, lambda row: in_bytes(row[3])),
        ("contested", 0, lambda row: row[0]),
        ("contested", 3, lambda row: pagevalues.KINDS.index(row[3])),
        ("contested", 4, lambda row: ("fatal", "warning", "info").index(row[4])),
    ],
)  # fmt: skip
def test_a_column_sorts_both_ways_and_says_so(
    show: Open, table: str, column: int, key: Callable[[list[str]], Any]
) -> None:
    running = show("many")
    running.ask("for (const b of document.querySelectorAll('.more button:last-child')) b.click()")
    button = f"document.querySelector('#{table}-table').tHead.rows[0].cells[{column}]"
    before = sorted(visible(running, table), key=lambda row: row[:2])
    for direction in ("ascending", "descending"):
        running.ask(f"{button}.querySelector('button').click()")
        more = f"#{table} .more button:last-child"
        running.ask(f"document.querySelector('{more}')?.click()")
        rows = visible(running, table)
        assert [key(row) for row in rows] == sorted(
            map(key, rows), reverse=direction == "descending")  # fmt: skip
        assert sorted(rows, key=lambda row: row[:2]) == before
        assert running.ask(f"{button}.getAttribute('aria-sort')") == direction


def test_a_long_table_is_shown_in_parts_and_printed_whole(show: Open) -> None:
    running = show("many")
    count = "document.querySelector('#contested-table').tBodies[0].rows.length"
    assert running.ask(count) == 200
    running.ask("document.querySelector('#contested .more button').click()")
    assert running.ask(count) == 400
    assert running.ask("document.activeElement.rowIndex") == 201
    running.ask("document.querySelector('#contested .more button:last-child').click()")
    assert running.ask(count) == 1200
    assert running.ask("document.querySelector('#contested .more').textContent") == ""
    running.ask("document.querySelector('.reset').click()")
    assert running.ask(count) == 200
    running.ask("dispatchEvent(new Event('beforeprint'))")
    assert running.ask(count) == 1200
    running.ask("dispatchEvent(new Event('afterprint'))")
    assert running.ask(count) == 200


def test_twenty_thousand_paths_filter(show: Open) -> None:
    value = pagevalues.large()
    running = show(plan_page(value))
    fill(running, "path", "part-13/")
    expected = [one for one in value["contested"] if "part-13/" in one["path"]]
    rows = visible(running, "contested")
    assert [row[0] for row in rows] == [one["path"] for one in expected[:200]]
    said = running.ask("document.querySelector('output').textContent")
    assert said == f"{len(expected)} of 20,000 paths"


@pytest.mark.parametrize("name", ["broken", "many", "boot"])
def test_without_scripts_everything_can_be_read(
    show: Open, chromium: Browser, name: str
) -> None:  # fmt: skip
    chromium.scripts(False)
    running = show(name)
    assert running.console == []
    assert running.ask("document.querySelectorAll('button').length - "
                       "document.querySelectorAll('[hidden] button').length") == 0  # fmt: skip
    for panel in running.ask("[...document.querySelectorAll('.filters')].map(p => p.offsetHeight)"):
        assert panel == 0
    if name == "many":
        assert running.ask("document.querySelectorAll('#contested-table tbody tr').length") == 1200
        assert running.ask("document.querySelector('#contested-table tbody').lastElementChild"
                           ".offsetHeight > 0")  # fmt: skip


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


def test_hostile_words_stay_words(show: Open) -> None:
    running = show("hostile")
    assert running.ask("[...document.querySelectorAll('script, style')].length") == 2
    made = "img, iframe, [onload], [onerror], [onmouseover]"
    assert running.ask(f"document.querySelectorAll('{made}').length") == 0
    seen = running.ask("document.querySelector('#contested-table').textContent")
    for odd in pagevalues.ODD[:-1]:
        assert markup.plain(f"/{odd}") in seen
    assert running.ask(
        "[...document.querySelectorAll('.odd')].every(one => one.textContent[0] == '\\\\')"
    )
    assert len(fill(running, "path", "<script>alert(1)")) == 1
    assert running.console == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_valid_html_with_nothing_unseen(name: str) -> None:
    text = page(name)
    html5lib.HTMLParser(strict=True).parse(text)
    assert text.encode().decode() == text
    assert all(char.isprintable() or char == "\n" for char in text)
    ids = [part.partition('"')[0] for part in text.split(' id="')[1:]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"), ("a\nb", "a\\nb"), ("\x1b[0m", "\\x1b[0m"),
        ("\u202eabc", "\\u202eabc"), ("\ud800", "\\ud800"), ("\U000e0041", "\\U000e0041"),
        ("\u0085", "\\u0085"), ("plain \\x41 ü", "plain \\x41 ü"), ("<&>", "<&>"),
    ],
)  # fmt: skip
def test_what_cannot_be_seen_is_written_out(raw: str, shown: str) -> None:
    assert markup.plain(raw) == shown
    assert html.unescape(markup.text(raw).replace('<span class="odd">', "")
                         .replace("</span>", "")) == shown  # fmt: skip


def test_markup_is_never_made_of_text_by_joining() -> None:
    assert (
        markup.tag("p", markup.tag("b", "<") + "<i>")
        == "<p>&lt;b&gt;&amp;lt;&lt;/b&gt;&lt;i&gt;</p>"
    )
    assert markup.tag("p", title='"><x') == '<p title="&quot;&gt;&lt;x"></p>'


def test_the_values_are_what_a_plan_is() -> None:
    import jsonschema

    path = TOP / "docs/plan.schema.json"
    if not path.exists():
        pytest.skip("the schema is not written yet")
    schema = json.loads(path.read_text(encoding="utf-8"))
    for made in (pagevalues.broken(), pagevalues.large(9, 30), pagevalues.plan([], [])):
        jsonschema.validate(made, schema)
