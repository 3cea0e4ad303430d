"""Servers as a user starts them, in a process of their own, and requests to them."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

JSON = {"content-type": "application/json"}
PICTURE = {"content-type": "image/png"}
TOKEN = "-".join(["a-secret-of-the-tests", "0123456789abcdef"])


class Said(NamedTuple):
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def plain(self) -> Any:
        return json.loads(self.body)

    def message(self) -> str:
        return self.plain()["error"]["message"]


class Server:
    """A running `zafu serve`."""

    def __init__(self, folder: Path, *options: str) -> None:
        words = ["-m", "zafu", "serve", str(folder), "--port", "0", *options]
        self.process = subprocess.Popen(
            [sys.executable, *words],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.token = ""
        assert self.process.stderr
        self.lines: list[str] = []
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"http://[^:]+:(\d+)/", line):
                self.port = int(found[1])
                return
        raise AssertionError("".join(self.lines))

    def connect(self, seconds: float = 20) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)

    def headers(self, more: Mapping[str, str] = {}) -> dict[str, str]:
        return {**({"authorization": f"Bearer {self.token}"} if self.token else {}), **more}

    def ask(
        self, path: str, body: object = None, headers: Mapping[str, str] = {}, method: str = ""
    ) -> Said:
        """The answer to a request; a body that is no bytes is sent as JSON."""
        if body is not None and not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {**JSON, **headers}
        connection = self.connect()
        connection.request(
            method or ("GET" if body is None else "POST"), path, body, self.headers(headers)
        )
        answer = connection.getresponse()
        said = Said(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        return said

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        text = self.ask("/metrics").body.decode()
        return sum(float(v) for v in re.findall(rf"^zafu_{name}(?:{{.*}})? (\S+)$", text, re.M))

    def stop(self) -> tuple[int, str]:
        """The exit code, and what it said."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, rest = self.process.communicate(timeout=15)
        return self.process.returncode, "".join(self.lines) + rest
