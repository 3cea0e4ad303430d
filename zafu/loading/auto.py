"""Auto: measures what reading costs beside a step, and reads ahead where that is faster.

First inline. If reading is a small part of a step it stays so; else threads read some batches, and
go on if they save at least half of what can be saved. Processes take seconds to start: they are
tried when as much time was lost to waiting for data. No choice changes a byte of a batch.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from statistics import fmean, median
from time import perf_counter
from typing import Literal, NamedTuple, final

from zafu.batch import Batch
from zafu.loading.contract import Batches, Choice, Loader, Request, Say, Source
from zafu.loading.inline import Inline
from zafu.loading.processes import Processes
from zafu.loading.threads import Threads
from zafu.units import Seconds

FIRST, COUNTED = 4, 16  # batches at the start that are not counted, and batches that are
LONGEST = 2  # of those: left out
LITTLE = 0.03  # of a step: so much reading is borne
HANDED_OVER = 2e-4  # seconds: a batch that is read sooner gains nothing from being handed over
PATIENCE = 5.0  # seconds lost to waiting after which starting processes is worth a try
MOST_WORKERS = 8


class Cost(NamedTuple):
    """Seconds of a batch: waiting for it, and all else until the next is wanted."""

    read: float  # a mean without the longest: the machine may have done something else meanwhile
    step: float  # a median, as now and then an evaluation lies between two batches

    @property
    def together(self) -> float:
        """All of it."""
        return self.read + self.step


@final
class Auto(Loader):
    """Read as is fastest here: found by measuring, and said."""

    kind: Literal["auto"] = "auto"

    def batches(self, source: Source, requests: Iterator[Request], say: Say) -> Batches:
        """Batches in the order of the requests, whoever reads them."""
        return _Search(source, requests, say).batches()


@dataclass
class _Search:
    """The way to a choice; each part of it reads on where the one before it ended."""

    source: Source
    requests: Iterator[Request]
    say: Say

    def batches(self) -> Batches:
        inline, workers = Inline(), min(MOST_WORKERS, len(os.sched_getaffinity(0)))
        alone = yield from self.measured(inline, filling=0)
        if alone is None:  # there are no more requests
            return
        if alone.read <= max(HANDED_OVER, LITTLE * alone.step):
            yield from self.chosen(inline, alone)
            return
        threads = Threads(workers=workers, depth=2 * workers)
        tried = yield from self.measured(threads, filling=threads.depth)
        if tried is None:
            return
        if alone.together - tried.together >= min(alone.read, alone.step) / 2:
            yield from self.chosen(threads, alone, with_threads=tried.together)
            return
        measured = {"with_threads": tried.together}
        self.say(Choice(inline, _why(inline, alone, measured), _figures(alone, measured)))
        if not (yield from self.until_worth_a_try()):
            return
        processes = Processes(workers=workers, depth=2 * workers)
        tried = yield from self.measured(processes, filling=processes.depth)
        if tried is None:
            return
        measured["with_processes"] = tried.together
        faster = alone.together - tried.together >= min(alone.read, alone.step) / 4
        yield from self.chosen(processes if faster else inline, alone, **measured)

    def chosen(self, loader: Loader, alone: Cost, **measured: float) -> Batches:
        """All further batches, after the choice was said."""
        self.say(Choice(loader, _why(loader, alone, measured), _figures(alone, measured)))
        yield from loader.batches(self.source, self.requests, self.say)

    def measured(self, loader: Loader, *, filling: int) -> Generator[Batch, None, Cost | None]:
        """Some batches by a loader; what they cost, if there were enough requests to tell."""
        waited: list[float] = []
        away: list[float] = []
        some = islice(self.requests, filling + FIRST + COUNTED)
        with closing(loader.batches(self.source, some, self.say)) as batches:
            begun = perf_counter()
            for batch in batches:
                given = perf_counter()
                waited.append(given - begun)
                yield batch
                begun = perf_counter()
                away.append(begun - given)
        if len(away) < filling + FIRST + COUNTED:
            return None
        usual = sorted(waited[-COUNTED:])[: COUNTED - LONGEST]
        return Cost(fmean(usual), median(away[-COUNTED:]))

    def until_worth_a_try(self) -> Generator[Batch, None, bool]:
        """Batches read inline until starting processes costs no more than was lost by waiting.

        Returns whether it came to that before the requests ended.
        """
        lost = 0.0
        while lost < PATIENCE or self.source.remote is None:
            begun = perf_counter()
            request = next(self.requests, None)
            if request is None:
                return False
            batch = self.source.read(request)
            lost += perf_counter() - begun
            yield batch
        return True


def _figures(alone: Cost, measured: dict[str, float]) -> dict[str, float]:
    return {"read": alone.read, "step": alone.step, **measured}


def _why(loader: Loader, alone: Cost, measured: dict[str, float]) -> str:
    text = f"reading a batch takes {Seconds(alone.read)} beside {Seconds(alone.step)} of its step"
    together = [f"{Seconds(value)} {how.replace('_', ' ')}" for how, value in measured.items()]
    tried = f" (together {', '.join(together)})" if together else ""
    return f"{text}{tried}: data is read {_HOW[loader.kind]}"


_HOW = {
    "inline": "in the training thread",
    "threads": "ahead by threads",
    "processes": "ahead by processes",
}
