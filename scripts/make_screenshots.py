"""Makes docs/images/: the plan of the demo's list and the report of one of its boots.

`.venv/bin/python scripts/make_screenshots.py BOOT_JSON`: the list is the newest demo in the cache
(BOOTUNION_CACHE), BOOT_JSON is a report that the demo's machine wrote. Needs chromium and pngquant.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))

import browser  # noqa: E402

from bootunion.host import bootreport, planjson, planning, signing  # noqa: E402
from bootunion.host.pages import boot_page, plan_page  # noqa: E402
from bootunion.host.store import Store  # noqa: E402

IMAGES = TOP / "docs/images"
CACHE = Path(os.environ.get("BOOTUNION_CACHE", TOP / "build/cache"))


def pages(report: Path) -> dict[str, str]:
    demo = max(CACHE.glob("demo-*/complete"), key=lambda path: path.stat().st_mtime).parent
    trusted = signing.read_trust(demo / "keys/trust", demo / "store")
    found = planning.of_stored(Store(demo / "store"), trusted, "demo")
    return {
        "plan": plan_page(planjson.as_json(found)),
        "boot": boot_page(bootreport.read(report).as_json()),
    }


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, browser.start() as running:
        for name, text in pages(Path(sys.argv[1])).items():
            (Path(directory) / f"{name}.html").write_text(text, encoding="utf-8")
        for image, page, scheme, height, section in (
            ("plan", "plan", "light", 1000, ""),
            ("plan-contested", "plan", "dark", 900, "contested"),
            ("boot-report", "boot", "light", 900, ""),
        ):
            running.size(1200, height)
            running.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
            running.open(f"file://{directory}/{page}.html")
            if section:
                running.ask(f"document.querySelector('#{section}').scrollIntoView()")
            target = IMAGES / f"{image}.png"
            running.picture(target)
            # Few colours are enough, and make the files small.
            subprocess.run(["pngquant", "--force", "--strip", "--speed", "1", "--output", target,
                            "64", target], check=True)  # fmt: skip


if __name__ == "__main__":
    main()
