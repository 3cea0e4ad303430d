"""Tuning: each arm gets the same number of trials, spread evenly over its own space.

The points of the unit cube are the same for all arms (scrambled Sobol, Owen, 1998), the first
dimension being the learning rate. The best few are trained again with other seeds before one is
chosen, since the best of many single runs is often merely lucky.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log10
from pathlib import Path
from typing import Any

import numpy as np

from zafu.compare.arms import LR, Arm
from zafu.compare.kept import Record
from zafu.measure import Measurement, share
from zafu.recipe import Recipe
from zafu.search.random import drawn
from zafu.space import Range
from zafu.trial import Trial

AGAIN, SEEDS = 3, 2  # settings that are trained again, with so many further seeds each
FRESH = 1_000_000  # from a recipe's seed to those of the second look
NEAR = 0.01  # of the metric: what is as good as the best


@dataclass(frozen=True)
class Tuned:
    """What tuning found for an arm."""

    recipe: Recipe  # with the best settings
    settings: dict[str, Any]
    tried: list[tuple[dict[str, Any], float | None]]  # settings, value on validation
    edges: list[str]
    records: list[Record]  # of all trainings that it took


def first(arm: Arm, data: Path, trials: int) -> dict[str, Trial]:
    """The trials of an arm, by their number."""
    return {
        str(number): Trial(applied(arm, settings), data)
        for number, settings in enumerate(asked(arm, trials))
    }


def asked(arm: Arm, trials: int) -> list[dict[str, Any]]:
    """The settings that are tried; none where nothing is tuned."""
    if arm.space is None or not trials:
        return []
    points = drawn(0, trials, len(arm.space.paths), seed=0)
    return [arm.space.at(point) for point in points.tolist()]


def applied(arm: Arm, settings: Mapping[str, Any]) -> Recipe:
    """The arm's recipe with these settings."""
    return arm.space.applied(arm.recipe, dict(settings)) if arm.space else arm.recipe


def second(
    arm: Arm, data: Path, found: Sequence[Record], *, higher: bool
) -> dict[tuple[int, int], Trial]:
    """The best few again, by number of the trial and of the seed."""
    wanted: dict[tuple[int, int], Trial] = {}
    settings = asked(arm, len(found))
    for number in ranked([r.values.get("validation") for r in found], higher=higher)[:AGAIN]:
        recipe = applied(arm, settings[number])
        for seed in range(SEEDS):
            wanted[number, seed] = Trial(seeded(recipe, FRESH + seed), data)
    return wanted


def seeded(recipe: Recipe, further: int) -> Recipe:
    """The recipe with another seed of weights, order and dropout."""
    return recipe.model_copy(update={"seed": (recipe.seed + further) % 2**32})


def chosen(
    arm: Arm,
    found: Sequence[Record],
    again: Mapping[tuple[int, int], Record],
    *,
    higher: bool,
) -> Tuned:
    """The settings with the best mean over their seeds; the arm as it is if nothing was tuned."""
    values = [record.values.get("validation") for record in found]
    settings = asked(arm, len(found))
    if not settings or arm.space is None:
        return Tuned(arm.recipe, {}, [], [], [])
    numbers = list(dict.fromkeys(number for number, _ in again)) or [0]
    means = [
        _mean([values[n], *(again[k].values.get("validation") for k in again if k[0] == n)])
        for n in numbers
    ]
    best = settings[numbers[ranked(means, higher=higher)[0]]]
    tried = list(zip(settings, values, strict=True))
    records = [*found, *again.values()]
    return Tuned(applied(arm, best), best, tried, arm.space.edges(best), records)


def ranked(values: Sequence[float | None], *, higher: bool) -> list[int]:
    """The places of the values, the best first; those that are none last."""
    sign = -1 if higher else 1
    return sorted(range(len(values)), key=lambda i: _key(values[i], sign))


def lr_width(arm: Arm, tuned: Tuned, *, higher: bool) -> Measurement | None:
    """Decades of learning rates within a point of the best, by the trials; None if not tuned.

    The share of the trials (which cover the range evenly) that come within 0.01 of the best, or
    within 1 % for metrics beyond 1, times the decades of the range.
    """
    dimension = next((d for d in arm.space.dimensions if d.path == LR), None) if arm.space else None
    values = [value for _, value in tuned.tried if value is not None]
    if not isinstance(dimension, Range) or not dimension.log or not values:
        return None
    best = max(values) if higher else min(values)
    margin = NEAR * max(1.0, abs(best))
    good = sum(abs(value - best) <= margin for value in values)
    decades = log10(dimension.high / dimension.low)
    found = share(good, len(tuned.tried), how=f"share of {len(tuned.tried)} trials x {decades:.3g}")
    low, high = (found.low or 0.0) * decades, (found.high or 1.0) * decades
    scaled = {"value": found.value * decades, "low": low, "high": high, "unit": "decades"}
    return found.model_copy(update=scaled)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _key(value: float | None, sign: int) -> tuple[bool, float]:
    absent = value is None or not isfinite(value)
    return absent, 0.0 if absent or value is None else sign * value
