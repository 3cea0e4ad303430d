"""Pace: names a process that takes longer for its share of a step than those that do the same.

All processes of a layout end a step together, so the time of a step does not tell who is slow. What
tells is the time for which each does not wait for others; to measure it makes a step slower by up
to a third. So a few steps in a row are measured at first, then when steps take more or less time
than before, and once in a long while. One slow processor, cooler or disk slows down all others
(Dean & Barroso, 2013, doi:10.1145/2408776.2408794; Lin et al., 2025, arXiv:2505.05713).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from statistics import median
from typing import NamedTuple, Protocol, TypeVar, final

import numpy as np
import torch

from zafu.layout import AXES, Layout
from zafu.parallel.counting import Counting
from zafu.parallel.world import World

STEPS = 8  # in a row that are measured, or looked at from without
CHANGED = 1.15  # times the time of a step as before, or its inverse, after which is measured again
SHARE = 0.01  # of all time that measuring may take where nothing changes
SLOW = 1.25  # times as long as others; by chance processes of a busy machine differ by less
DOUBTFUL, AGAIN = 1.18, 3  # times as long in each of two turns; how often to measure for doubts


class Made(Protocol):
    """A step that was made."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        ...

    @property
    def seconds_data(self) -> float:
        """For how much of that it waited for samples."""
        ...


class Slow(NamedTuple):
    """A process that is behind the others."""

    rank: int
    times: float  # as long as the others takes it for its share: the median of a round
    data: float  # share of its time in which it waited for samples

    def __str__(self) -> str:
        why = f", {self.data:.0%} of it to wait for samples" if self.data > 1 / 4 else ""
        return f"rank {self.rank} takes {self.times:.2g} times as long as the others{why}"


@final
class Pace:
    """What processes found about themselves, and who is behind."""

    def __init__(self, layout: Layout, uneven: float = 1.0) -> None:
        """`uneven` is the largest share of a batch over the smallest, >= 1."""
        self._limit = SLOW * uneven
        self.doubtful = False  # whether somebody was slower than chance explains, but is not named
        self._last = np.zeros((layout.world, 0))  # times as long as others, when last measured
        self._usual: np.ndarray | None = None  # seconds at first, where nobody does the same work
        stages = [layout.place(rank)["pipeline"] for rank in range(layout.world)]
        alike = [[r for r, other in enumerate(stages) if other == mine] for mine in stages]
        self._alone = min(map(len, alike)) == 1
        everybody = [*range(layout.world)]
        self._peers = [
            [other for other in (everybody if self._alone else alike[rank]) if other != rank]
            for rank in everybody
        ]

    def slow(self, told: np.ndarray) -> list[Slow]:
        """Who is slow, now and before, most first; `told` are measured steps, `(ranks, steps, 2)`.

        Of each there are the seconds that a rank did not wait for others, and how many of these for
        samples. Where stages of a pipeline have one process each, their work differs: then a change
        since they were first measured counts, and not the time itself. Who is slow for the first
        time is not named yet: something else may have been at work on its machine for a moment.
        """
        own, data = told[..., 0], told[..., 1]
        if self._alone and self._usual is None:
            self._usual = np.median(own, axis=1, keepdims=True)
        pace = own if self._usual is None else own / self._usual
        now = np.stack([pace[r] / np.median(pace[p], axis=0) for r, p in enumerate(self._peers)])
        before, self._last = self._last, now
        found, self.doubtful = list[Slow](), False
        for rank, both in enumerate(np.concatenate([before, now], axis=1)):
            turns = [turn[rank] for turn in (before, now) if turn.size]
            doubtful = [np.median(turn) > self._limit / SLOW * DOUBTFUL for turn in turns]
            middle, most = np.median(both), np.quantile(both, 1 / 4)  # three of four are above it
            sure = middle > self._limit and most > self._limit / SLOW * DOUBTFUL
            if len(turns) == 2 and all(doubtful) and sure:
                share = data[rank].sum() / own[rank].sum()
                found.append(Slow(rank, float(middle), float(share)))
            else:
                self.doubtful |= bool(doubtful[-1])
        return sorted(found, key=lambda slow: -slow.times)


@final
class Due:
    """When steps are to be measured: the first process decides."""

    def __init__(self) -> None:
        self._before = 0.0  # median seconds of a step before the last were measured; 0: none were
        self._left = 0.0  # steps until they are measured in any case
        self._again = 0  # times that they were measured in a row, for doubts

    def now(self, seconds: list[float]) -> bool:
        """Whether to measure after steps that took so long."""
        self._left -= len(seconds)
        usual = median(seconds)
        changed = not self._before or not 1 / CHANGED < usual / self._before < CHANGED
        if due := changed or self._left <= 0:
            self._before = usual
        return due

    def measured(self, seconds: list[float], *, doubtful: bool) -> None:
        """The measured steps took so long; whether somebody may be slow."""
        self._again = self._again + 1 if doubtful and self._again < AGAIN else 0
        lost = len(seconds) * max(0.0, median(seconds) / self._before - 1)  # in steps
        self._left = 0.0 if self._again else max(STEPS, lost / SHARE)


S = TypeVar("S", bound=Made)


def paced(
    steps: Iterator[S], world: World, said: Callable[[S, list[Slow]], None], uneven: float = 1.0
) -> Iterator[S]:
    """The same steps; now and then `said` hears who is slow, the same on all processes.

    Waiting is known on a CPU only: elsewhere, and for one process, nothing is measured. Nor is it
    where `uneven` is infinite.
    """
    if world.alone or world.device.type != "cpu" or math.isinf(uneven):
        yield from steps
        return
    pace, due = Pace(world.layout, uneven), Due()
    while len(seconds := (yield from _passed(steps))) == STEPS:
        if not world.add(torch.tensor([float(due.now(seconds))]) * (world.rank == 0), *AXES):
            continue
        found = yield from _measured(steps, world)
        if len(found) < STEPS:
            return
        own = [[step.seconds - waited, step.seconds_data] for step, waited in found]
        slow = pace.slow(np.array(world.all_of(own)))
        due.measured([step.seconds for step, _ in found], doubtful=pace.doubtful)
        said(found[-1][0], slow)


def _passed(steps: Iterator[S]) -> Generator[S, None, list[float]]:
    """Some steps; the seconds of each."""
    seconds: list[float] = []
    for step in islice(steps, STEPS):
        seconds.append(step.seconds)
        yield step
    return seconds


def _measured(steps: Iterator[S], world: World) -> Generator[S, None, list[tuple[S, float]]]:
    """Some steps; each with the seconds that this process waited for others."""
    found: list[tuple[S, float]] = []
    while len(found) < STEPS:
        with Counting(world) as counting:
            step = next(steps, None)
        if step is None:
            break
        counting.end()
        found.append((step, counting.waited))
        yield step
    return found
