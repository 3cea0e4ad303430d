"""A server that is measured: started as it would be shipped, in a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from zafu.errors import ZafuError

END = 15.0  # seconds that its end may take


@contextmanager
def running(folder: Path, options: Sequence[str] = ()) -> Generator[int]:
    """Inside, a server answers at a port of this machine. Raises ZafuError if it does not start."""
    words = [sys.executable, "-m", "zafu", "serve", str(folder), "--port", "0", *options]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield _port(process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=END)
            except subprocess.TimeoutExpired:
                process.kill()


def _port(process: subprocess.Popen[str]) -> int:
    said = list[str]()
    for line in process.stderr or ():
        said.append(line)
        if found := re.search(r"http://[^/]*:(\d+)/", line):
            return int(found[1])
    last = (said or ["it said nothing"])[-1].strip()
    raise ZafuError(f"the server did not start: {last}")
