"""Halving: many settings for a little while, then the best of them for longer.

Successive halving (Jamieson & Talwalkar, 2016, arXiv:1502.07943): of the trials of a rung the best
1 / eta go on, from where they stopped, to eta times the budget. With several brackets, some of
which give their settings more to begin with: Hyperband (Li et al., 2018, arXiv:1603.06560). With
`sampler: tpe` first rungs are asked for in batches by a model of the rung that knows most (as BOHB
does: Falkner et al., 2018).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import ClassVar, Literal, NamedTuple, final

from pydantic import Field

from zafu.errors import Fault
from zafu.search.contract import Ask, Search, Told, best_first
from zafu.search.samplers import points, suggested
from zafu.space import Settings, Space

ENOUGH = 10  # trials of a rung from which a model can learn
SWEEP = 27  # settings at a time, where their number is left to the budget


class Rung(NamedTuple):
    """So many trials that end at a share of the budget."""

    trials: int
    until: float


@final
class Halving(Search):
    """The best 1 / eta of each rung go on to the next."""

    kind: Literal["halving"] = "halving"
    eta: int = Field(default=3, ge=2)
    """Of so many trials one goes on, to so many times the budget, eta >= 2."""
    rungs: int = Field(default=3, ge=2, le=10)
    """How often trials are looked at, 2 to 10: the first time at 1 / eta^(rungs - 1)."""
    brackets: int = Field(default=1, ge=1, le=10)
    """1: successive halving; up to `rungs`: Hyperband, each begins one rung later."""
    sampler: Literal["random", "tpe"] = "random"
    """Of the first rung: a Sobol sequence, or a model of the trials so far."""
    goes_on: ClassVar[bool] = True

    def check(self) -> Iterator[Fault]:
        """No more brackets than rungs."""
        if self.brackets > self.rungs:
            yield Fault("brackets", f"at most {self.rungs}, the rungs", str(self.brackets))

    def next(self, space: Space, told: Sequence[Told], *, higher: bool, seed: int) -> list[Ask]:
        """The next rung, or the next batch of a first rung."""
        done = asked = 0  # trials that are accounted for; settings begun
        for rungs in self._brackets():
            entered = rungs[0].trials
            size = entered if self.sampler == "random" else ENOUGH
            for start in range(0, entered, size):
                many = min(size, entered - start)
                if done >= len(told):
                    found = self._entering(space, told, (asked, many), higher=higher, seed=seed)
                    return [Ask(settings, rungs[0].until) for settings in found]
                done, asked = done + many, asked + many
            rung = told[done - entered : done]
            for later in rungs[1:]:
                sound = [one for one in best_first(rung, higher=higher) if one.value is not None]
                best = sound[: later.trials]
                if best and done >= len(told):
                    return [Ask(one.ask.settings, later.until, one.number) for one in best]
                rung = told[done : done + len(best)]
                done += len(best)
        return []

    def _brackets(self) -> Iterator[list[Rung]]:
        """The rungs of each bracket, in order; without end where `trials` is none."""
        for _ in count() if self.trials is None else range(1):
            sizes = shares(self.trials or SWEEP, self.eta, self.rungs, self.brackets)
            yield from (
                ladder(size, self.eta, self.rungs, later)
                for later, size in enumerate(sizes)
                if size
            )

    def _entering(
        self,
        space: Space,
        told: Sequence[Told],
        places: tuple[int, int],
        *,
        higher: bool,
        seed: int,
    ) -> list[Settings]:
        start, many = places
        levels = sorted({one.ask.until for one in told}, reverse=True)
        by_level = ([one for one in told if one.ask.until == until] for until in levels)
        known = next((level for level in by_level if len(level) >= ENOUGH), None)
        if self.sampler == "random" or known is None:
            return points(space, start, many, seed=seed)
        key = seed + len(told)  # levels may have the same length at different times
        return suggested(space, known, many, model="tpe", higher=higher, seed=key)


def ladder(trials: int, eta: int, rungs: int, later: int = 0) -> list[Rung]:
    """The rungs of so many trials that begin `later` rungs above the first."""
    return [
        Rung(max(1, trials // eta**step), eta ** -(rungs - 1.0 - later - step))
        for step in range(rungs - later)
    ]


def shares(trials: int, eta: int, rungs: int, brackets: int) -> list[int]:
    """The settings of each bracket, so that all brackets cost about the same."""
    weights = [1 / cost(ladder(eta**rungs, eta, rungs, later)) for later in range(brackets)]
    parts = [round(trials * weight / sum(weights)) for weight in weights]
    parts[0] += trials - sum(parts)
    return parts


def cost(rungs: Sequence[Rung]) -> float:
    """The budget of a bracket in trainings to the end, where each goes on from where it was."""
    before, total = 0.0, 0.0
    for rung in rungs:
        total += rung.trials * (rung.until - before)
        before = rung.until
    return total
