"""Pool: trials in several processes of this machine, each of which does a part at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from zafu import work
from zafu.errors import Interrupted, LostRank
from zafu.trial import Outcome, State, Trial

Stopped = Callable[[], str]
Found = tuple[int, Outcome]
Compute = Callable[[Sequence[Trial], Stopped], Iterator[Found]]
_halt: list[Event] = []  # in a process of the pool: set when it is to stop


class Told(NamedTuple):
    """A trial or an outcome as it is sent: arrays for tensors, since those take a file each."""

    value: Any  # without its tensors
    arrays: tuple[dict[str, np.ndarray], ...]


@final
@dataclass(frozen=True)
class Pool:
    """Processes that compute trials; `compute` stands at the top of a module."""

    workers: int
    compute: Callable[..., Iterator[Found]]

    def outcomes(
        self, trials: Sequence[Trial], parts: Sequence[Sequence[int]], stopped: Stopped
    ) -> Iterator[Found]:
        """Yields each trial's number and outcome, a part at a time.

        Raises Interrupted after a signal, when all processes have stopped, and LostRank if one of
        them was killed.
        """
        context = get_context("spawn")
        plugins, halt = {p for t in trials for p in t.recipe.plugins}, context.Event()
        begin = (tuple(sorted(plugins)), halt)
        pool = ProcessPoolExecutor(self.workers, context, initializer=_begin, initargs=begin)
        waiting: dict[Future[list[tuple[int, Told]]], Sequence[int]] = {}
        try:
            for part in parts:
                told = [_of_trial(trials[number]) for number in part]
                waiting[pool.submit(_do, self.compute, told)] = part
            while waiting:
                done, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    part = waiting.pop(future)
                    yield from ((part[n], _outcome(found)) for n, found in future.result())
                if waiting and (reason := stopped()):
                    raise Interrupted(f"{reason}: {len(waiting)} parts of trials were left")
        except BrokenProcessPool:
            text = "a process that computed trials was killed, perhaps for want of memory"
            raise LostRank(f"{text}; what was found before is kept") from None
        finally:
            halt.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(plugins: tuple[str, ...], halt: Event) -> None:
    work.begin(plugins)
    torch.set_num_threads(1)
    _halt.append(halt)


def _do(compute: Compute, told: Sequence[Told]) -> list[tuple[int, Told]]:
    trials = [_trial(one) for one in told]

    def stopped() -> str:
        return "stopped" if _halt[0].is_set() else ""

    return [(number, _of_outcome(found)) for number, found in compute(trials, stopped)]


def _of_trial(trial: Trial) -> Told:
    begin = trial.begin
    if begin is None:
        return Told(trial, ())
    plain = trial._replace(begin=begin._replace(model={}, update={}))
    return Told(plain, (_arrays(begin.model), _arrays(begin.update)))


def _trial(told: Told) -> Trial:
    if not told.arrays:
        return told.value
    model, update = map(_tensors, told.arrays)
    return told.value._replace(begin=told.value.begin._replace(model=model, update=update))


def _of_outcome(found: Outcome) -> Told:
    plain = (found.answers, found.curve, found.cost, found.diverged)
    if found.state is None:
        return Told((*plain, None), (_arrays(found.weights),))
    state = found.state._replace(model={}, update={})
    kept = (found.weights, found.state.model, found.state.update)
    return Told((*plain, state), tuple(map(_arrays, kept)))


def _outcome(told: Told) -> Outcome:
    answers, curve, cost, diverged, bare = told.value
    weights, *kept = map(_tensors, told.arrays)
    state: State | None = bare._replace(model=kept[0], update=kept[1]) if bare else None
    return Outcome(answers, curve, cost, diverged, weights, state)


def _arrays(named: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in named.items()}


def _tensors(named: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in named.items()}
