"""A headless Chromium, driven by the DevTools protocol over a pair of pipes.

The protocol itself tells what the tests ask for: every request, console line and policy violation,
the accessibility tree, media features, scripts off, paper. No driver program, no library.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
_PATIENCE = 120.0  # seconds, on a busy machine


class Browser:
    """One page. `requests`, `console` and `violations` collect what it does."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._buffer = b""
        self._number = 0
        self._events: list[str] = []
        self.requests: list[str] = []
        self.console: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM", "Accessibility"):
            self.call(f"{domain}.enable")

    _session = ""
    _scripts = True

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        while True:
            found = self._receive()
            if found.get("id") == self._number:
                assert "error" not in found, (method, found["error"])
                return dict(found["result"])

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], deadline - time.monotonic())
            data = os.read(self._answers, 1 << 20) if ready else b""
            assert data, "the browser ended or hangs"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        self._note(found.get("method", ""), found.get("params", {}))
        return found

    def _note(self, event: str, facts: dict[str, Any]) -> None:
        self._events.append(event)
        if event == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
        elif event == "Runtime.consoleAPICalled":
            self.console.append(str(facts["args"]))
        elif event == "Runtime.exceptionThrown":
            self.console.append(str(facts["exceptionDetails"]))
        elif event == "Log.entryAdded":
            self.console.append(facts["entry"]["text"])

    def scripts(self, allowed: bool) -> None:
        """Whether the pages' own scripts run."""
        self._scripts = allowed
        self.call("Emulation.setScriptExecutionDisabled", value=not allowed)

    def open(self, address: str) -> None:
        """Go to an address and wait until the page is loaded, and drawn where scripts tell."""
        self._events.clear()
        self.requests.clear()
        self.console.clear()
        self.call("Page.navigate", url=address)
        while "Page.loadEventFired" not in self._events:
            self._receive()
        if self._scripts:
            self.ask(
                "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
            )

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; promises are waited for."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                      windowsVirtualKeyCode=code, **more)  # fmt: skip

    def tab(self, times: int = 1) -> None:
        """Press the tabulator key."""
        for _ in range(times):
            self.press("Tab", 9)

    def write(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def size(self, width: int, height: int, scale: float = 1) -> None:
        """Give the window a size in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=scale, mobile=False)  # fmt: skip

    def prefer(self, media: str = "", **features: str) -> None:
        """Emulate media features, such as prefers_color_scheme="dark", or a medium."""
        some = [{"name": name.replace("_", "-"), "value": value}
                for name, value in features.items()]  # fmt: skip
        self.call("Emulation.setEmulatedMedia", media=media, features=some)

    def picture(self, target: Path, selector: str = "", *, whole: bool = False) -> None:
        """A PNG of the window, of one element, or of the whole page."""
        more: dict[str, Any] = {}
        if selector or whole:
            box = self.ask(
                f"(box => [box.x + scrollX, box.y + scrollY, box.width, box.height])"
                f"(document.querySelector({selector or 'html'!r}).getBoundingClientRect())"
            )
            more["clip"] = dict(zip(("x", "y", "width", "height"), box, strict=True), scale=1)
            more["captureBeyondViewport"] = True
        found = self.call("Page.captureScreenshot", format="png", **more)
        target.write_bytes(base64.b64decode(found["data"]))

    def paper(self) -> bytes:
        """The page as PDF."""
        found = self.call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        return base64.b64decode(found["data"])


@contextlib.contextmanager
def start() -> Iterator[Browser]:
    """A browser with a profile of its own, which ends with it."""
    assert CHROMIUM is not None
    commands, answers = os.pipe(), os.pipe()
    inherit = {3: commands[0], 4: answers[1]}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        argv = [
            CHROMIUM, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}",
            # Whoever runs as root, as CI does, has no sandbox; what is opened is our own page.
            "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
        ]  # fmt: skip
        # The protocol's pipes are descriptors 3 and 4 of the browser.
        script = f'exec 3<&{inherit[3]} 4>&{inherit[4]}; exec "$@"'
        process = subprocess.Popen(
            ["bash", "-c", script, "chromium", *argv], pass_fds=list(inherit.values()),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": profile},
        )  # fmt: skip
        for end in inherit.values():
            os.close(end)
        try:
            yield Browser(commands[1], answers[0])
        finally:
            os.close(commands[1])  # a browser whose pipe is closed ends
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(answers[0])
