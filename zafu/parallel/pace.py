"""Pace: names a process that takes longer for its share of a step than those that do the same.

All processes of a layout end a step together, so the time of a step does not tell who is slow. What
tells is the time that each does not wait for others: it is measured in every few steps, by the
means of `counting`. One slow processor, cooler or disk slows down all others (Dean & Barroso, 2013,
doi:10.1145/2408776.2408794; Lin et al., 2025, arXiv:2505.05713).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import count
from typing import Any, NamedTuple, Protocol, TypeVar, final

import numpy as np

from zafu.layout import Layout
from zafu.parallel.counting import Counting
from zafu.parallel.world import World

EVERY = 5  # steps of which one is measured, at the least
TOLD = 2  # measured steps after which processes tell each other
SAMPLES = 8  # newest measured steps that are looked at: of 40 steps
MEASURING = 6e-6  # seconds for each operation of a measured step
SHARE = 0.01  # of all time that measuring may take
SLOW = 1.25  # times as long as others; by chance processes of a busy machine differ by less


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
    """What all processes found about themselves of late, and who is behind."""

    def __init__(self, layout: Layout, uneven: float = 1.0) -> None:
        """`uneven` is the largest share of a batch over the smallest, >= 1."""
        self._limit = SLOW * uneven
        self._usual: np.ndarray | None = None  # seconds at first, where nobody does the same work
        self._recent = np.zeros((layout.world, 0, 2))
        stages = [layout.place(rank)["pipeline"] for rank in range(layout.world)]
        alike = [[r for r, other in enumerate(stages) if other == mine] for mine in stages]
        self._alone = min(map(len, alike)) == 1
        everybody = [*range(layout.world)]
        self._peers = [
            [other for other in (everybody if self._alone else alike[rank]) if other != rank]
            for rank in everybody
        ]

    def slow(self, told: np.ndarray) -> list[Slow]:
        """Who is slow by now, most first; `told` are new steps, `(ranks, steps, 2)`.

        Of each there are the seconds that a rank did not wait for others, and how many of these for
        samples. Where stages of a pipeline have one process each, their work differs: then a change
        since the first steps counts, and not the time itself.
        """
        self._recent = np.concatenate([self._recent, told], axis=1)[:, -SAMPLES:]
        own, data = self._recent[..., 0], self._recent[..., 1]
        if own.shape[1] < SAMPLES:
            return []
        if self._alone and self._usual is None:
            self._usual = np.median(own, axis=1, keepdims=True)
        pace = own if self._usual is None else own / self._usual
        found: list[Slow] = []
        for rank, peers in enumerate(self._peers):
            times = pace[rank] / np.median(pace[peers], axis=0)
            if np.quantile(times, 1 / 4) > self._limit:  # three of four steps say so
                share = data[rank].sum() / own[rank].sum()
                found.append(Slow(rank, float(np.median(times)), float(share)))
        return sorted(found, key=lambda slow: -slow.times)


S = TypeVar("S", bound=Made)


def paced(
    steps: Iterator[S], world: World, said: Callable[[S, list[Slow]], None], uneven: float = 1.0
) -> Iterator[S]:
    """The same steps; every few of them `said` hears who is slow, the same on all processes.

    Waiting is known on a CPU only: elsewhere, and for one process, nothing is measured. Nor is it
    where `uneven` is infinite.
    """
    if world.alone or world.device.type != "cpu" or math.isinf(uneven):
        yield from steps
        return
    pace, every, operations = Pace(world.layout, uneven), EVERY, 0
    own: list[tuple[float, float]] = []
    for number in count(1):
        counting = Counting(world) if number % every == 0 else None
        with counting or nullcontext():
            step = next(steps, None)
        if step is None:
            return
        if counting:
            counting.end()
            operations = max(operations, counting.operations)
            own.append((step.seconds - counting.waited, step.seconds_data))
        if len(own) == TOLD:
            heard = world.all_of([own, operations, step.seconds])
            said(step, pace.slow(np.array([there for there, *_ in heard])))
            every, own = _interval(heard), []
        yield step


def _interval(heard: Sequence[Any]) -> int:
    """Steps of which one is to be measured, so that this costs little."""
    cost = max(operations for _, operations, _ in heard) * MEASURING
    shortest = min(seconds for *_, seconds in heard)
    return max(EVERY, math.ceil(cost / (SHARE * shortest)))
