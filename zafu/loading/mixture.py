"""Mixture: which portion of a split each position of the order takes its sample from.

The weights become whole numbers of places in a cycle by the largest remainder (Hamilton), and the
places are spread as evenly as can be (Tijdeman, 1980, "The chairman assignment problem"): after
any number of samples each portion is within one sample of its share. The cycle is all that is
stored; how far each portion has come follows from the position.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple, final

import numpy as np

from zafu.batch import Portion

CYCLE = 4096  # places: weights are met to one part in so many
LEAST = 16  # places for each portion on average, where there are very many


class Places(NamedTuple):
    """What stands at some positions of the order; each `(count,)` int64."""

    portion: np.ndarray
    counter: np.ndarray  # samples of this portion that came before


@final
class Mixture:
    """The endless repetition of one cycle of portions."""

    def __init__(self, portions: tuple[Portion, ...]) -> None:
        counts = _shared(np.array([p.weight for p in portions]), CYCLE)
        self._counts, self._cycle = counts, _spread(counts)
        places = np.argsort(self._cycle, kind="stable")  # those of portion 0, then of 1, ...
        before = np.repeat(np.cumsum(counts) - counts, counts)
        self._before = np.empty(len(places), np.int64)  # places of the same portion further ahead
        self._before[places] = np.arange(len(places)) - before

    def at(self, positions: np.ndarray) -> Places:
        """What stands at these positions, `(count,)` int64."""
        cycles, place = np.divmod(positions, len(self._cycle))
        portion = self._cycle[place]
        return Places(portion, cycles * self._counts[portion] + self._before[place])


def _shared(weights: np.ndarray, places: int) -> np.ndarray:
    """How many of the places of a cycle each portion has, at least one."""
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError(f"expected weights > 0, found {weights.tolist()}")
    places = max(places, LEAST * len(weights))
    exact = weights / weights.sum() * places
    counts = np.maximum(1, np.floor(exact).astype(np.int64))
    while (left := places - int(counts.sum())) > 0:
        behind = np.argsort(counts - exact, kind="stable")[:left]
        counts[behind] += 1
    while counts.sum() > places:  # minute weights were given a place of their own
        counts[np.argmax(np.where(counts > 1, counts - exact, -np.inf))] -= 1
    return counts


def _spread(counts: np.ndarray) -> np.ndarray:
    """The portion at each place: of those that may come now, the one that must come soonest.

    A portion's next sample may come where it is then at most 1 - 1 / slack ahead of the portion's
    share, and must where the portion would else fall as far behind.
    """
    places, slack = int(counts.sum()), 2 * max(1, len(counts) - 1)
    resting: list[tuple[int, int, int]] = []  # place from which it may come, portion, came
    ready: list[tuple[int, int, int]] = []  # place at which it must have come, portion, came

    def rest(portion: int, came: int) -> None:
        share = int(counts[portion]) * slack  # of one place, in units that make all exact
        heappush(resting, (-(-places * (came * slack + 1) // share) - 1, portion, came))

    for portion in range(len(counts)):
        rest(portion, 0)
    cycle = np.empty(places, np.int64)
    for place in range(places):
        while resting and resting[0][0] <= place:
            _, portion, came = heappop(resting)
            share = int(counts[portion]) * slack
            heappush(ready, ((came * slack + slack - 1) * places // share, portion, came))
        _, cycle[place], came = heappop(ready)
        rest(int(cycle[place]), came + 1)
    return cycle
