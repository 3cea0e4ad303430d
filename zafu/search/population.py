"""Population: settings that change while weights are trained (Jaderberg et al., 2017).

arXiv:1711.09846. After each generation the worst fifth of the members take over weights and
settings of one of the best fifth, and change the settings a little. What comes out is weights and
the schedule of settings that led to them, never "the best settings": trained from the beginning
with the last ones, a model is another.

Settings that decide the shape of weights or of optimizer states stay with the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.errors import Fault
from zafu.search.contract import Ask, Search, Told, best_first
from zafu.search.samplers import points, uniforms
from zafu.space import Dimension, Range, Settings, Space

MEMBERS = 20  # where their number is not said
FIXED = (
    "model.", "data.", "fit.average", "fit.sparsity",
    "fit.epochs", "fit.steps", "fit.samples", "fit.tokens",
)  # fmt: skip
FREE = ("dropout", "drop_path")  # of a model, and yet without a shape
FACTORS = (0.8, 1.2)


@final
class Population(Search):
    """`trials` members (20 where it is none), trained in generations."""

    kind: Literal["population"] = "population"
    generations: int = Field(default=10, ge=2, le=1000)
    """Parts of the budget after which members are compared, 2 to 1000."""
    share: float = Field(default=0.2, gt=0, le=0.5)
    """Of the members that take over another's weights, and of those that are taken over."""
    resample: float = Field(default=0.25, ge=0, le=1)
    """Probability that a setting is drawn anew instead of multiplied by 0.8 or 1.2."""
    ends: ClassVar[bool] = True
    goes_on: ClassVar[bool] = True
    schedules: ClassVar[bool] = True

    def next(self, space: Space, told: Sequence[Told], *, higher: bool, seed: int) -> list[Ask]:
        """The next generation."""
        members = self.trials or MEMBERS
        generation = len(told) // members
        if generation == self.generations:
            return []
        until = 1.0 if generation == self.generations - 1 else (generation + 1) / self.generations
        if not generation:
            return [Ask(settings, until) for settings in points(space, 0, members, seed=seed)]
        last = told[-members:]
        ranked = best_first(last, higher=higher)
        cut = max(1, round(self.share * members))
        best = [one for one in ranked[:cut] if one.value is not None]
        if not best:
            return []
        worst = {one.number for one in ranked[len(ranked) - cut :]} - {one.number for one in best}
        asks: list[Ask] = []
        for one in last:
            if one.value is not None and one.number not in worst:
                asks.append(Ask(one.ask.settings, until, one.number))
                continue
            chance = uniforms(seed, one.number, count=1 + 2 * len(space.paths))
            source = best[int(chance[0] * len(best))]
            settings = self._explored(space, source.ask.settings, chance[1:])
            asks.append(Ask(settings, until, source.number))
        return asks

    def refused(self, space: Space) -> Iterable[Fault]:
        """A space in which nothing may change while weights are trained."""
        if not any(map(free, space.dimensions)):
            expected = "a path that may change on the way, such as fit.optimizer.lr"
            yield Fault("search.kind", expected, ", ".join(space.paths), hint="use another search")

    def _explored(self, space: Space, settings: Settings, chance: np.ndarray) -> Settings:
        """Settings near these."""
        found = dict(settings)
        for index, one in enumerate(space.dimensions):
            if one.path not in settings or not free(one):
                continue
            whether, where = chance[2 * index : 2 * index + 2].tolist()
            if whether < self.resample:
                found[one.path] = one.value(where)
            elif isinstance(one, Range):
                found[one.path] = moved(one, settings[one.path], FACTORS[int(where * 2)])
        return space.meant(found)


def free(one: Dimension) -> bool:
    """Whether a setting may change while weights are trained."""
    if one.path.endswith(".kind") or one.path == "seed":
        return False
    return one.path.rpartition(".")[2] in FREE or not one.path.startswith(FIXED)


def moved(one: Range, value: float, factor: float) -> float | int:
    """A value times a factor, within its range and on its steps."""
    return one.value(one.unit(min(max(value * factor, one.low), one.high)))
