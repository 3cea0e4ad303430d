"""ASHA: halving that does not wait for a whole rung (Li et al., 2018, arXiv:1810.05934).

Whoever is free takes a trial that is among the best 1 / eta of its rung so far, or else begins a
new one. For several processes or machines; which trials go on then depends on who is how fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal, final

from pydantic import Field

from zafu.search.contract import Ask, Search, Told, best_first
from zafu.search.samplers import points
from zafu.space import Space


@final
class Asha(Search):
    """Promote what is good among what is known; begin another where nothing is."""

    kind: Literal["asha"] = "asha"
    eta: int = Field(default=3, ge=2)
    """Of so many trials one goes on, to so many times the budget, eta >= 2."""
    rungs: int = Field(default=3, ge=2, le=10)
    """How often trials are looked at, 2 to 10: the first time at 1 / eta^(rungs - 1)."""
    goes_on: ClassVar[bool] = True
    asynchronous: ClassVar[bool] = True

    def next(self, space: Space, told: Sequence[Told], *, higher: bool, seed: int) -> list[Ask]:
        """The next trial; none while only others' answers can decide."""
        levels = [self.eta ** -(self.rungs - 1.0 - rung) for rung in range(self.rungs)]
        for until, above in list(pairwise(levels))[::-1]:
            if (best := self._promoted(told, until, higher=higher)) is not None:
                return [Ask(best.ask.settings, above, best.number)]
        begun = sum(one.ask.of is None for one in told)
        if self.trials is None or begun < self.trials:
            return [Ask(points(space, begun, 1, seed=seed)[0], levels[0])]
        if any(one.running for one in told):
            return []
        for until, above in pairwise(levels):  # few trials: the best goes on
            rung = self._sound(told, until, higher=higher)
            if rung and not any(one.ask.until == above for one in told):
                return [Ask(rung[0].ask.settings, above, rung[0].number)]
        return []

    def _promoted(self, told: Sequence[Told], until: float, *, higher: bool) -> Told | None:
        """The best trial of a rung that is good enough to go on, and has not."""
        over = [one for one in told if one.ask.until == until and not one.running]
        gone_on = {one.ask.of for one in told}
        best = self._sound(told, until, higher=higher)[: len(over) // self.eta]
        return next((one for one in best if one.number not in gone_on), None)

    def _sound(self, told: Sequence[Told], until: float, *, higher: bool) -> list[Told]:
        sound = [one for one in told if one.ask.until == until and one.value is not None]
        return best_first(sound, higher=higher)
