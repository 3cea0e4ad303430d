"""The crowd before a model: as many requests are let in as are answered in time.

A rush is let in up to a bound. Once the bound had to refuse somebody it follows what the others
feel: while they wait longer than they should it shrinks, else it grows; when nobody was refused it
opens again (additive growth and fall by a factor, as in Jacobson, 1988; on latency as in Netflix's
"concurrency-limits", 2018). So under lasting overload what is let in is answered about as soon as
without any, and what is not is told so at once, before anything of it is read.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter
from typing import final

from zafu.serve.metrics import Metrics
from zafu.serve.refusal import Rejected

INTERVAL = 0.1  # seconds after which the bound is looked at again
FEWEST = 2  # requests that are let in whatever they feel
TIMES = 1.5  # as long as a request takes alone, on average, is in time
FALL, SLOW = 0.7, 0.1  # of the bound; weight of a new time in what is usual


@final
class Crowd:
    """Requests in flight, and how many more may come; used from one event loop."""

    def __init__(self, most: int, metrics: Metrics) -> None:
        self._most, self._metrics = most, metrics
        self._bound = float(most)
        self._open, self._alone = 0, 0.0  # seconds that a request takes alone
        self._looked, self._refused = perf_counter(), False
        self._took = list[float]()  # seconds of those that were answered since then

    def admit(self) -> None:
        """Raises Rejected where one more would be too many."""
        now = perf_counter()
        if now - self._looked >= INTERVAL:
            self._look()
            self._looked, self._refused = now, False
            self._took.clear()
        if self._open >= self._bound:
            self._refused = True
            self._metrics.add("refused_total")
            raise Rejected(503, "the server is full: come again", retry_after=1)

    @contextmanager
    def inside(self) -> Generator[None]:
        """A request is in flight; how long it took counts if it is answered."""
        alone, begun = self._open == 0, perf_counter()
        self._open += 1
        try:
            yield
            took = perf_counter() - begun
            self._took.append(took)
            if alone:
                self._alone = (1 - SLOW) * (self._alone or took) + SLOW * took
        finally:
            self._open -= 1

    def _look(self) -> None:
        """Set the bound anew."""
        if not self._refused:
            self._bound = min(float(self._most), self._bound * 2)
        elif self._took and sum(self._took) / len(self._took) > TIMES * self._alone:
            self._bound = max(float(FEWEST), self._bound * FALL)
        else:
            self._bound = min(float(self._most), self._bound + 1)
