"""A browser that a test drives: Chromium without a window, spoken to over a pipe.

The Chrome DevTools Protocol as JSON messages that end with a zero byte (--remote-debugging-pipe),
so that nothing but the executable is needed.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
)


def executable() -> str | None:
    """Where a browser is, if there is one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page; a context manager."""

    def __enter__(self) -> Browser:
        self._folder = TemporaryDirectory(prefix="browser", ignore_cleanup_errors=True)
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()
        # the browser reads from 3 and writes to 4
        command = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                command,
                executable() or "",
                *FLAGS,
                f"--user-data-dir={self._folder.name}",
            ],
            pass_fds=(to_read, to_write),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._number, self._rest, self._session = 0, b"", ""
        self.said: list[dict[str, Any]] = []  # events
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        found = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._out)
        os.close(self._in)
        self._folder.cleanup()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser answers to a command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                assert "error" not in found, found
                return found["result"]
            self.said.append(found)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._in, 1 << 16)
            assert more, "the browser ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def go(self, address: str) -> None:
        """Open a page and wait until it asked who it is."""
        self.ask("Page.navigate", url=address)
        self.until("!document.getElementById('ask').hidden")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 10.0) -> None:
        """Return once an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"!!(document.getElementById('ask') && ({script}))"):
            assert time.monotonic() < end, (
                f"never true: {script}; {self.run('document.body.innerText')}"
            )
            time.sleep(0.05)

    def choose(self, selector: str, file: Path) -> None:
        """Choose a file in an input."""
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.ask("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def shot(self, file: Path) -> None:
        """A picture of the page."""
        found = self.ask("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(found["data"]))

    def faults(self) -> list[str]:
        """What the browser found wrong: errors of scripts, violations of the policy."""
        wrong = ("Log.entryAdded", "Runtime.exceptionThrown")
        return [json.dumps(one) for one in self.said if one.get("method") in wrong]

    def addresses(self) -> set[str]:
        """Every address that was asked for."""
        sent = [o for o in self.said if o.get("method") == "Network.requestWillBeSent"]
        return {one["params"]["request"]["url"] for one in sent}
