"""The pages in a real browser: they load nothing, filter, sort, and what is hostile stays text."""

import contextlib
import functools
import html
import http.server
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import html5lib
import pagevalues
import pytest
from browser import Browser
from composing import TOP
from pagetools import PAGES, Open, fill, page, toggle, visible
from test_commands import a_list, bootunion

from bootunion.host.pages import markup, plan_page
from bootunion.text import printable


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
    assert [row[0] for row in rows] == [printable(one["path"]) for one in value["contested"]]
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


def test_hostile_words_stay_words(show: Open) -> None:
    running = show("hostile")
    assert running.ask("[...document.querySelectorAll('script, style')].length") == 2
    made = "img, iframe, [onload], [onerror], [onmouseover]"
    assert running.ask(f"document.querySelectorAll('{made}').length") == 0
    seen = running.ask("document.querySelector('#contested-table').textContent")
    for odd in pagevalues.ODD[:-1]:
        assert printable(f"/{odd}") in seen
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
    assert printable(raw) == shown
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
