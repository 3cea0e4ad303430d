"""Engine: who computes trials. What a trial says does not depend on it, within rounding.

`sequential`: one after the other, in this process. `stacked`: those that can be, as one batched
program (`zafu.fleet`); the others one after the other. `pool`: in processes of this machine, each
with a part of them, stacked where that can be. `auto` measures a few steps and says what it chose.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from time import perf_counter
from typing import Literal, get_args

import torch

from zafu import loop
from zafu.errors import Refused
from zafu.fleet import stack
from zafu.fleet.pool import Pool
from zafu.fleet.train import Fleet
from zafu.fleet.train import outcomes as stacked
from zafu.spec import did_you_mean
from zafu.trial import Outcome, Trial, length, outcome, ready

How = Literal["sequential", "stacked", "pool"]
Say = Callable[[str], None]
Stopped = Callable[[], str]  # the signal that asked to stop, if one has
Found = tuple[int, Outcome]  # the number of a trial in a sequence, and what it says
STEPS = 5  # that are timed, after two
LONG = 5e-3  # seconds of a step from which on stacking gains nothing
START = 6.0  # seconds in which a process starts, about


def outcomes(
    trials: Sequence[Trial],
    *,
    how: str = "auto",
    say: Say = lambda _: None,
    stopped: Stopped = lambda: "",
) -> Iterator[Found]:
    """Yields each trial's number in the sequence and its outcome, as soon as that is known.

    `how` is auto or one of the engines above; `say` hears which one was chosen, and why. Raises
    Refused for another word, Interrupted after a signal: what was not yielded is then lost.
    """
    chosen = choose(trials, say) if how == "auto" else checked(how)
    if chosen == "pool":
        count = workers(trials)
        pool = Pool(count, partial(here, how="stacked"))
        yield from pool.outcomes(trials, shares(trials, count), stopped)
    else:
        yield from here(trials, stopped, how=chosen)


def here(trials: Sequence[Trial], stopped: Stopped, *, how: How) -> Iterator[Found]:
    """Yields the outcomes of trials that are computed in this process, stacked or one by one."""
    able = [n for n, trial in enumerate(trials) if how == "stacked" and not stack.why_not(trial)]
    parts = [[able[i] for i in part] for part in stack.stacks([trials[n] for n in able])]
    together = [part for part in parts if len(part) > 1]
    for part in together:
        for index, found in stacked([trials[number] for number in part], stopped):
            yield part[index], found
    for number in sorted(set(range(len(trials))).difference(*together)):
        yield number, outcome(trials[number], stopped)


def choose(trials: Sequence[Trial], say: Say = lambda _: None) -> How:
    """The engine that will be done first, as a few steps of one or several of the trials tell."""
    if len(trials) < 2:
        return "sequential"
    reasons = [stack.why_not(trial) for trial in trials]
    able = [trial for trial, reason in zip(trials, reasons, strict=True) if not reason]
    largest = [able[n] for n in max(stack.stacks(able), key=len, default=[])]
    alone, every = _alone((largest or trials)[0]), sum(map(length, trials))
    seconds: dict[How, float] = {"sequential": every * alone}
    said = f"{alone * 1e3:.2g} ms a step"
    if len(largest) > 1 and alone < LONG:
        together, most = _together(largest), sum(map(length, able))
        seconds["stacked"] = most * together + (every - most) * alone
        said = f"{together * 1e3:.2g} ms for a step of one of {len(largest)} models, {said} alone"
    elif not able:
        said += f"; {reasons[0]} keeps from stacking"
    if (count := workers(trials)) > 1:
        seconds["pool"] = START + min(seconds.values()) / count
    best = min(seconds, key=lambda how: seconds[how])
    foreseen = ", ".join(f"{how} {time:.2g} s" for how, time in seconds.items())
    say(f"{len(trials)} trials: {best} ({said}; foreseen: {foreseen})")
    return best


def checked(how: str) -> How:
    """The engine of this name; raises Refused if there is none."""
    for name in get_args(How):
        if name == how:
            return name
    known = ("auto", *get_args(How))
    hint = did_you_mean(how, known) or f"known: {', '.join(known)}"
    raise Refused(f"engine: expected one of {', '.join(known)}, found {how!r}; {hint}")


def workers(trials: Sequence[Trial]) -> int:
    """How many processes compute these trials at a time; 1 where they would share a GPU."""
    cpu = all(t.recipe.fit.device == "cpu" for t in trials) or not torch.cuda.is_available()
    return min(len(os.sched_getaffinity(0)), len(trials)) if cpu else 1


def shares(trials: Sequence[Trial], count: int) -> list[list[int]]:
    """The numbers of trials that a process does at a time: stacks, cut so that each has a part."""
    able = [n for n, trial in enumerate(trials) if not stack.why_not(trial)]
    parts = [[able[i] for i in part] for part in stack.stacks([trials[n] for n in able])]
    while parts and len(parts) < count and len(max(parts, key=len)) > 1:
        parts.sort(key=len)
        whole = parts.pop()
        parts += [whole[::2], whole[1::2]]
    return parts + [[n] for n in sorted(set(range(len(trials))) - set(able))]


def _alone(trial: Trial) -> float:
    """Seconds of a step of the sequential loop."""
    objective, update, progress = ready(trial)
    with closing(loop.fit(objective, update, progress)) as steps:
        times = [step.seconds for step in islice(steps, STEPS + 2)]
    return min(times)


def _together(trials: Sequence[Trial]) -> float:
    """Seconds of a stack's step for each of its models."""
    fleet, times = Fleet(trials, torch.float32), list[float]()
    for _ in range(STEPS + 2):
        if not fleet.members or all(fleet.seen(m) >= m.end for m in fleet.members):
            break
        begin, many = perf_counter(), len(fleet.members)
        for _ in fleet.step():
            pass
        times.append((perf_counter() - begin) / many)
    return min(times)
