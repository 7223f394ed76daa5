"""Headless Chromium over its debugging pipe: two file descriptors and JSON, so no driver is needed.

Protocol: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1280,900",
    "--remote-debugging-pipe",
)  # fmt: skip
_KEYS = {
    "Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), "ArrowDown": (40, ""), "ArrowUp": (38, ""),
    " ": (32, " "), "End": (35, ""), "Home": (36, ""), "ArrowLeft": (37, ""),
    "ArrowRight": (39, ""),
}  # fmt: skip
_PATIENCE_S = 60.0


def executable() -> str | None:
    """Chromium or Chrome on this machine, or None."""
    names = (os.environ.get("SALVER_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


class Browser:
    """One page. What it logs as an error, or throws, is in `errors`; what it loads, in `requests`."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._rest, self._count = write, read, b"", 0
        self._session: str | None = None
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and waits for its result; events met on the way are noted."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                found: dict[str, Any] = answer["result"]
                return found

    def open(self, address: str) -> None:
        """Loads a page and waits until its script is ready."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        self.wait(
            "document.readyState === 'complete' && document.documentElement.dataset.whole !== undefined"
        )
        self.settle()

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression, awaited where it is a promise."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until a JavaScript expression is true."""
        since = time.monotonic()
        while not self.run(condition):
            if time.monotonic() - since > _PATIENCE_S:
                raise TimeoutError(condition)
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """A mouse click in the middle of the first element of that selector, scrolled into view."""
        place = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', inline: 'center'}); const r = e.getClientRects()[0];"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            position = {"x": place[0], "y": place[1]}
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **position)
        self.settle()

    def press(self, *keys: str) -> None:
        """Presses keys one after another, as `Tab` or `Shift+Tab` or a single character."""
        for key in keys:
            shift, name = key.startswith("Shift+"), key.removeprefix("Shift+")
            code, text = _KEYS.get(name, (ord(name.upper()[0]), name))
            event = {"key": name, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
            pressed = {"text": text} if text and not shift else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", **event, **pressed)
            self.call("Input.dispatchKeyEvent", type="keyUp", **event)
            if key.startswith("Arrow"):
                self.settle()
        self.settle()

    def settle(self) -> None:
        """Until what an event started has been carried out and drawn, and an instance read."""
        self.run("new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(true), 0)))")
        self.wait("document.querySelectorAll('#report[hidden], #instance[hidden]').length < 2")

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Stores what is seen, or the whole page, as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def media(self, *, scheme: str = "light", kind: str = "screen") -> None:
        """Light or dark; screen or print."""
        self.call(
            "Emulation.setEmulatedMedia",
            media=kind,
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def focused(self) -> str:
        """What has the focus: its name for who hears the page."""
        return str(self.run("(document.activeElement.innerText || document.activeElement.id || '').trim()"))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = os.read(self._read, 1 << 20)
            if not chunk:
                raise RuntimeError("Chromium has ended")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, given: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(given["exceptionDetails"])[:1000])
        elif method == "Log.entryAdded" and given["entry"]["level"] == "error":
            self.errors.append(given["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])


@contextlib.contextmanager
def chromium(program: str) -> Iterator[Browser]:
    """A fresh Chromium with an empty profile; ended at the end."""
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()

    passed = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (command_read, answer_write)]
    os.close(command_read)
    os.close(answer_write)
    # Chromium reads commands from descriptor 3 and writes answers to 4; the shell puts them there.
    moved = f'exec "$@" 3<&{passed[0]} 4>&{passed[1]}'
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            ["bash", "-c", moved, "bash", program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=passed, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in passed:
            os.close(end)
        try:
            yield Browser(command_write, answer_read)
        finally:
            os.close(command_write)
            os.close(answer_read)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
