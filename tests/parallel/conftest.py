"""Processes that tests share: started once for each number of them, then they wait for work."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from pathlib import Path
from typing import Any

import pytest

SERVE = """
import importlib.util, json, os, sys, traceback
import torch, torch.distributed as dist
from datetime import timedelta
torch.set_num_threads(1)
rank, size, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
known = {}
for number, line in enumerate(sys.stdin):
    file, name, told = json.loads(line)
    try:  # a group has threads and connections: each call has its own, and leaves none
        dist.init_process_group("gloo", init_method=f"file://{store}-{number}", rank=rank,
                                world_size=size, timeout=timedelta(seconds=60))
        if file not in known:
            spec = importlib.util.spec_from_file_location(f"served_{len(known)}", file)
            known[file] = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = known[file]
            spec.loader.exec_module(known[file])
        answer = {"found": getattr(known[file], name)(rank, **told)}
        dist.barrier()  # the first to leave would break the connections that others make
    except BaseException:
        answer = {"error": traceback.format_exc()}
    if dist.is_initialized():
        dist.destroy_process_group()
    print("answer " + json.dumps(answer), flush=True)
"""


GRACE = 2.0  # seconds that others have to answer after one has failed


class Ranks:
    """Some processes in one gloo world; `ranks(function, **told)` runs it on each.

    The function stands at the top of a test file, takes its rank and plain data by name, and gives
    plain data back; what comes is a list by rank.
    """

    def __init__(self, size: int) -> None:
        self.size, self._processes = size, list[subprocess.Popen[str]]()

    def __call__(self, function: Callable[..., Any], **told: Any) -> list[Any]:
        if not self._processes:
            self._start()
        file = function.__code__.co_filename
        for process in self._processes:
            print(json.dumps([file, function.__name__, told]), file=process.stdin, flush=True)
        with ThreadPoolExecutor(self.size) as readers:
            answers = [readers.submit(self._answer, process) for process in self._processes]
            for first in as_completed(answers):
                if "error" in first.result():  # the others may wait for the one that failed
                    wait(answers, timeout=GRACE)
                    self._kill()
        if errors := [a.result()["error"] for a in answers if "error" in a.result()]:
            self.end()
            pytest.fail("\n".join(errors))
        return [a.result()["found"] for a in answers]

    def _answer(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        return {"error": f"a process ended with {process.wait()}"}

    def _start(self) -> None:
        store = Path(tempfile.mkdtemp()) / "store"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-c", SERVE, str(rank), str(self.size), str(store)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for rank in range(self.size)
        ]

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def end(self) -> None:
        """Let the processes go."""
        self._kill()
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
        self._processes = []


@pytest.fixture(scope="session")
def worlds() -> Generator[Callable[[int], Ranks]]:
    """`worlds(4)` is four processes, the same ones for all tests of a session."""
    known: dict[int, Ranks] = {}

    def of(size: int) -> Ranks:
        return known.setdefault(size, Ranks(size))

    yield of
    for ranks in known.values():
        ranks.end()
