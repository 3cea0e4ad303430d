"""Deciding: how many seeds are needed, and what they show.

Seeds are added in looks of the same size until every question is answered, or the last look or
the budget is reached. Each of K looks may err with probability 0.05 / K, so that all together err
in at most 5 of 100 (Bonferroni over looks: valid whatever the looks have in common). Several
questions share a look by Holm, 1979. Intervals are those of all looks together (Jennison &
Turnbull, 1989): 95 % whenever one stops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from pydantic import Field

from zafu.measure import Measurement
from zafu.spec import Spec
from zafu.statistics import ALPHA, Numbers, Verdict, holm, paired, superiority, verdict

J = TypeVar("J")


class Plan(Spec):
    """How many seeds there are at least and at most."""

    first: int = Field(default=10, ge=2)
    """Seeds of the first look, >= 2, and between looks."""
    most: int = Field(default=30, ge=2)
    """Seeds of the last look."""

    @property
    def looks(self) -> list[int]:
        """The number of seeds at each look."""
        return [*range(self.first, self.most, self.first), max(self.most, self.first)]

    @property
    def level(self) -> float:
        """The level of one look's intervals, so that all of them together hold at 95 %."""
        return 1 - ALPHA / len(self.looks)


class Shown(Spec):
    """What paired seeds show of an arm beside the baseline."""

    difference: Measurement
    """Of the metric, arm less baseline; its interval holds at every look."""
    p: float = Field(ge=0, le=1)
    """Corrected for the number of looks, and of arms by Holm."""
    superiority: Measurement
    """The probability that one seed of the arm beats the same seed of the baseline."""
    verdict: Verdict


def escalated(
    plan: Plan,
    judge: Callable[[int], J],
    *,
    open_: Callable[[J], bool],
    may: Callable[[], bool] = lambda: True,
) -> tuple[int, J]:
    """The seeds that were used, and what `judge` says of them.

    From look to look while a question is `open_` and there `may` be another look.
    """
    for n in plan.looks:
        found = judge(n)
        if n == plan.looks[-1] or not open_(found) or not may():
            return n, found
    raise AssertionError("a plan has a last look")


def shown(
    plan: Plan, values: Mapping[str, Numbers], *, higher: bool, unit: str = ""
) -> dict[str, Shown]:
    """Each arm but the first against the first, by values `(seeds,)` of the same seeds.

    A value that is no number, of a seed that diverged, counts as the worst that any arm has.
    """
    filled = finite(values, higher=higher)
    base, *others = filled
    differences = {name: filled[name] - filled[base] for name in others}
    effects = {n: paired(d, level=plan.level, unit=unit) for n, d in differences.items()}
    ps = holm([min(1.0, effects[name].p * len(plan.looks)) for name in others])
    return {
        name: Shown(
            difference=_worded(effects[name].size, plan),
            p=p,
            superiority=superiority(differences[name], higher_is_better=higher),
            verdict=verdict(p, effects[name].size.value, higher_is_better=higher),
        )
        for name, p in zip(others, ps, strict=True)
    }


def undecided(found: Mapping[str, Shown]) -> bool:
    """Whether an arm is not told apart from the baseline."""
    return any(one.verdict == "not shown" for one in found.values())


def finite(values: Mapping[str, Numbers], *, higher: bool) -> dict[str, np.ndarray]:
    """The values, with the worst of all in place of what is no number; 0 where all are none."""
    columns = {name: np.asarray(own, float) for name, own in values.items()}
    known = np.concatenate([own[np.isfinite(own)] for own in columns.values()])
    worst = float((known.min() if higher else known.max()) if len(known) else 0.0)
    return {name: np.where(np.isfinite(own), own, worst) for name, own in columns.items()}


def _worded(size: Measurement, plan: Plan) -> Measurement:
    if len(plan.looks) == 1:
        return size
    how = f"{size.how}, 95 % over {len(plan.looks)} looks"
    return size.model_copy(update={"how": how})
