"""Batches: what waits goes through the model together, up to a size that was measured.

Crankshaw et al., 2017, "Clipper" (NSDI); Olston et al., 2017 (arXiv:1712.06139). While the model
computes, the next batch gathers; then it waits, no longer than a pass takes, for as many as there
were just now: who was answered is likely to ask again. Nobody waits who was alone before. Who may
come at all, `zafu.serve.crowd` says; what one request may bring is bounded too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple, final

from zafu.errors import ZafuError
from zafu.serve.metrics import Metrics
from zafu.serve.refusal import full

Work = Callable[[Sequence[Any]], Sequence[Any]]  # samples -> an answer for each
WAITING = 4096  # samples that wait, at most
TURNS, MEASURING, LONGEST = 20, 2.0, 0.25  # of measuring sizes: how often, and seconds


@dataclass
class Part:
    """Samples of one request that go through the model at once."""

    items: Sequence[Any]
    answers: asyncio.Future[Sequence[Any]]


@final
class Batcher:
    """A queue before a model; used from one event loop."""

    def __init__(self, work: Work, most: int, metrics: Metrics) -> None:
        self.most = most  # samples in a batch
        self._work, self._metrics = work, metrics
        self._parts: deque[Part] = deque()
        self._size = 0  # samples that wait
        self._some = asyncio.Event()
        self._likely, self._until = 0, 0.0  # samples of the next batch, and till when they count
        self._thread = ThreadPoolExecutor(1, "model")
        self._runner: asyncio.Task[None] | None = None

    async def ask(self, items: Sequence[Any]) -> list[Any]:
        """The answers of a request's samples, in order; raises Rejected where too many wait."""
        if self._size + len(items) > WAITING:
            self._metrics.add("refused_total")
            raise full()
        if self._runner is None:
            self._runner = asyncio.ensure_future(self._run())
        loop = asyncio.get_running_loop()
        parts = [
            Part(items[i : i + self.most], loop.create_future())
            for i in range(0, len(items), self.most)
        ]
        self._parts += parts
        self._count(len(items))
        self._some.set()
        found = await asyncio.gather(*(part.answers for part in parts))
        return [answer for answers in found for answer in answers]

    def shed(self, many: int) -> None:
        """Refuse so many of what waits, the longest first: so the others wait less."""
        while many > 0 and self._parts:
            part = self._parts.popleft()
            self._count(-len(part.items))
            if not part.answers.done():
                self._metrics.add("refused_total")
                _fail(part, full())
                many -= 1

    def _count(self, more: int) -> None:
        self._size += more
        self._metrics.put("waiting", self._size)

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            await self._gathered()
            if group := self._taken():
                await self._answered(group)

    async def _gathered(self) -> None:
        """Wait until as many are there as are likely to come."""
        try:
            async with asyncio.timeout_at(self._until):
                while self._size < min(self._likely, self.most):
                    self._some.clear()
                    await self._some.wait()
        except TimeoutError:
            pass

    def _taken(self) -> list[Part]:
        """The next parts that fit into a batch; those whose client has gone are left out."""
        group, size = list[Part](), 0
        while self._parts and (not group or size + len(self._parts[0].items) <= self.most):
            part = self._parts.popleft()
            self._count(-len(part.items))
            if not part.answers.done():
                group.append(part)
                size += len(part.items)
        (self._some.set if self._parts else self._some.clear)()
        return group

    async def _answered(self, group: Sequence[Part]) -> None:
        """Give every part its answers, or its error."""
        items = [item for part in group for item in part.items]
        loop, begun = asyncio.get_running_loop(), perf_counter()
        try:
            answers = await loop.run_in_executor(self._thread, self._work, items)
        except ZafuError as error:
            if len(group) == 1:
                _fail(group[0], error)
                return
            for part in group:  # one of them is the fault of it
                await self._answered([part])
            return
        except BaseException as error:  # noqa: BLE001  (panics too; each request says what it is)
            for part in group:
                _fail(part, error)
            return
        took = perf_counter() - begun
        self._metrics.see("batch_samples", len(items))
        self._metrics.see("pass_seconds", took)
        self._likely, self._until = len(items) + self._size, loop.time() + took
        start = 0
        for part in group:
            if not part.answers.done():
                part.answers.set_result(answers[start : start + len(part.items)])
            start += len(part.items)


def _fail(part: Part, error: BaseException) -> None:
    if not part.answers.done():
        part.answers.set_exception(error)


class Best(NamedTuple):
    """A size of batches that pays."""

    size: int  # samples
    rate: float  # samples a second


def best_size(seconds: Callable[[int], float], most: int) -> Best:
    """The smallest batch, a power of two up to `most`, that answers 90 % as many as any does.

    `seconds` measures a batch of a size, which is tried in turns: the least of its times counts,
    as what else the machine does can only add to it. What takes LONGEST seconds ends the sizes.
    """
    least: dict[int, float] = {}
    begun = perf_counter()
    for turn in range(TURNS):
        size = 1
        while size <= most and (turn == 0 or size in least):
            took = seconds(size)
            least[size] = min(took, least.get(size, took))
            if took > LONGEST:
                most = min(most, size)
            size *= 2
        if perf_counter() - begun > MEASURING:
            break
    speeds = {size: size / took for size, took in least.items()}
    best = max(speeds.values())
    size = next(size for size, speed in sorted(speeds.items()) if speed >= 0.9 * best)
    return Best(size, speeds[size])
