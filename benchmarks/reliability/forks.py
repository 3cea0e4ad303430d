"""Forks: start `zafu` commands in a few milliseconds, by forking a process that has loaded torch.

A child runs the command line's own `main` and ends with its exit code, as a command typed by a
user would. The server itself computes nothing, so that its children may use any thread.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__)
PRELOADED = (
    "polars",
    "sklearn.ensemble",
    "torch._dynamo",  # torch's optimizers load it when they are first built
    "zafu.cli.show",
    "zafu.cli.train",
    "zafu.pipeline",
)


@dataclass
class Child:
    """A command that was started; its pid stays its own until `wait`."""

    forks: Forks
    pid: int
    log: Path
    code: int | None = None  # exit code, or minus the signal that ended it

    def poll(self) -> int | None:
        """The code if it has ended, else None."""
        if self.code is None:
            self.code = self.forks.ask({"poll": self.pid})
        return self.code

    def wait(self, seconds: float = 120) -> int:
        """The code at its end; raises TimeoutError, after killing it, when that does not come."""
        end = time.monotonic() + seconds
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                self.send(signal.SIGKILL)
                raise TimeoutError(f"still running after {seconds} s:\n{self.said()}")
            time.sleep(0.002)
        return code

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.code is None:
            os.kill(self.pid, number)

    def said(self) -> str:
        """All that it printed; nothing if it was killed before it could open its log."""
        return self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""


class Forks:
    """A running server; use it as a context."""

    def __init__(self) -> None:
        command = [sys.executable, str(HERE)]
        pipe = subprocess.PIPE
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "1000"}
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=environment
        )
        self.started = 0

    def ask(self, request: dict[str, Any]) -> Any:
        """What the server answers."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, words: Sequence[object], folder: Path, **fault: Any) -> Child:
        """Start `zafu WORDS` in a folder, with a fault of `inject`; what it says goes to a log."""
        self.started += 1
        log = folder / f"child-{self.started}.log"
        request = {"words": [str(w) for w in words], "folder": str(folder), "log": str(log)}
        return Child(self, self.ask({**request, "fault": fault}), log)

    def run(self, words: Sequence[object], folder: Path, **fault: Any) -> Child:
        """Start a command and wait for its end."""
        child = self.start(words, folder, **fault)
        child.wait()
        return child

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()
        self.process.wait(30)


def serve() -> None:
    """Answer requests, one a line, until there are no more."""
    for name in PRELOADED:
        import_module(name)
    import torch

    from zafu.spec import Family

    torch.set_num_threads(1)
    for family in [f for f in Family.__subclasses__() if f._root]:
        family.kinds()
    for line in sys.stdin:
        request = json.loads(line)
        answer: int | None
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif not (answer := os.fork()):
            os._exit(child(request))
        print(json.dumps(answer), flush=True)


def child(request: dict[str, Any]) -> int:
    """Run a command in this process; its exit code."""
    from zafu.cli import main

    handle = os.open(request["log"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    for number in (1, 2):
        os.dup2(handle, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["folder"])
    faulthandler.dump_traceback_later(60)  # should it hang, the log shows where
    inject(**request["fault"])
    try:
        code = main(request["words"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  (as the interpreter would at the end of a command)
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def inject(
    *,
    call: str = "",
    nth: int = 0,
    below: str = "",
    errno: int = 0,
    lasting: bool = False,
    most_bytes: int = 0,
    broken: tuple[int, ...] = (),
) -> None:
    """Make the nth call of a function of `os` fail as the kernel would, or writing large files.

    The handles in `broken` become pipes that nobody reads, as after `| head`. Only calls on paths
    that contain `below` count (or on files opened there). With `lasting` all later ones fail too.
    """
    if most_bytes:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    for handle in broken:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, handle)
    if call:
        setattr(os, call, _failing(getattr(os, call), nth, below, errno, lasting))


def _failing(
    real: Callable[..., Any], nth: int, below: str, errno: int, lasting: bool
) -> Callable[..., Any]:
    calls = 0

    def instead(target: Any, *rest: Any, **named: Any) -> Any:
        nonlocal calls
        path = f"/proc/self/fd/{target}" if isinstance(target, int) else target
        where = Path(path).readlink() if isinstance(target, int) else target
        if below in str(where):
            calls += 1
            if calls == nth or (lasting and calls > nth):
                raise OSError(errno, os.strerror(errno), str(where))
        return real(target, *rest, **named)

    return instead


if __name__ == "__main__":
    serve()
