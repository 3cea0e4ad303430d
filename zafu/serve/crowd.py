"""The crowd before a model: as many requests are let in as are answered in time.

A rush is let in up to a bound, a tenth of a second's work. Once the bound had to refuse somebody
it follows what the others feel: while they wait longer than they should it shrinks by how much
longer, else it grows by one; when nobody was refused it opens again (on latency as in Netflix's
"concurrency-limits", 2018; additive growth as in Jacobson, 1988). So under lasting overload what is
let in is answered about as soon as without any, and what is not is told so at once, before anything
of it is read; those of the rush who would wait longest are told so when the bound falls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from time import perf_counter
from typing import final

from zafu.serve.metrics import Metrics
from zafu.serve.refusal import full

INTERVAL = 0.1  # seconds after which the bound is looked at again
PATIENCE = 1.5  # times that which a request takes alone are in time, on average
FEWEST = 2  # requests that are let in whatever they feel
FALL, SLOW = 0.1, 0.1  # of the bound, at most; weight of a new time in what is usual


@final
class Crowd:
    """Requests in flight, and how many more may come; used from one event loop."""

    def __init__(
        self,
        most: int,
        metrics: Metrics,
        *,
        patience: float = PATIENCE,
        shed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._most, self._metrics = most, metrics
        self._patience, self._shed = patience, shed  # refuses so many of those who wait
        self._bound = float(most)
        self._open, self._came = 0, 0  # requests in flight, and all that there were
        self._alone = 0.0  # seconds that a request takes alone
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
            raise full()

    @contextmanager
    def inside(self) -> Generator[None]:
        """A request is in flight; how long it took counts if it is answered."""
        nobody, begun = self._open == 0, perf_counter()
        self._open += 1
        self._came = mine = self._came + 1
        try:
            yield
            took = perf_counter() - begun
            self._took.append(took)
            if nobody and self._came == mine:
                self._alone = (1 - SLOW) * (self._alone or took) + SLOW * took
        finally:
            self._open -= 1

    def _look(self) -> None:
        """Set the bound anew."""
        felt = sum(self._took) / len(self._took) if self._took else 0.0
        if not self._refused:
            self._bound = min(float(self._most), self._bound * 2)
        elif felt > (most := self._patience * self._alone):
            fall = max(FALL, most / felt)
            self._bound = max(float(FEWEST), self._bound * fall)
            self._shed(self._open - math.ceil(self._bound))
        else:
            self._bound = min(float(self._most), self._bound + 1)
