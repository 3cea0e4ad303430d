"""The baton: a training that waits after each block of steps until it is told to go on.

A contestant is a process of its own and calls `step` after each of its updates. It says on its
standard output when it began and how long a block took, and reads from its standard input how
many steps to do next. So contestants take turns on the same machine in the same minute.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from time import perf_counter, process_time
from typing import Any


class Baton:
    """One contestant's side; `perf_counter` is the system's clock, the same in every process."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what libraries print is not an answer
        self._imported = 0.0
        self._left = 1  # the first step is a block of its own
        self._begun = False
        self._wall = self._cpu = 0.0

    def imported(self) -> None:
        """Note that all imports are done that come before the model is built."""
        self._imported = perf_counter()

    def step(self) -> None:
        """Count a step; at the end of a block, answer and wait for the next. Ends the process."""
        self._left -= 1
        if self._left:
            return
        wall, cpu = perf_counter() - self._wall, process_time() - self._cpu
        if self._begun:
            self._answer({"wall": wall, "cpu": cpu})
        else:
            first = {"imported": self._imported, "first": perf_counter(), "cpu": process_time()}
            self._answer(first)
            self._begun = True
        self._left = int(sys.stdin.readline() or 0)
        if not self._left:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            self._answer({"peak": peak})
            os._exit(0)  # whatever the framework would do at the end of a training is not timed
        self._wall, self._cpu = perf_counter(), process_time()

    def _answer(self, facts: dict[str, Any]) -> None:
        self._answers.write(json.dumps(facts) + "\n")
        self._answers.flush()
