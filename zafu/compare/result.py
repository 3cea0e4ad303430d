"""Result: what a comparison says, in plain values, with an interval wherever one is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from zafu.compare.claims import Claimed
from zafu.compare.decide import Shown
from zafu.compare.goal import reaching
from zafu.compare.kept import Record
from zafu.measure import Measurement, share
from zafu.spec import Spec
from zafu.statistics import mean


class Curve(Spec):
    """Median and quartiles over seeds of the metric on the validation split."""

    samples: tuple[float, ...] = ()
    updates: tuple[float, ...] = ()
    median: tuple[float | None, ...] = ()
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()


class Row(Spec):
    """What is known of an arm."""

    name: str
    trials: int = Field(ge=0)
    settings: dict[str, Any] = Field(default_factory=dict[str, Any])
    """The best ones of what was tuned."""
    edges: tuple[str, ...] = ()
    """Paths whose best value lies at an end of its range: a wider one may be better."""
    final: Measurement
    """The mean metric on the test split over seeds."""
    gap: Measurement
    """How much better it is on the training split."""
    shown: Shown | None = None
    """Beside the baseline, the first arm; none for that itself."""
    reached: Measurement
    """Share of the seeds that came to the target on the validation split."""
    to_target: dict[str, Measurement] = Field(default_factory=dict[str, Measurement])
    """Median samples, updates and seconds to the target; the ends are the quartiles."""
    lr_width: Measurement | None = None
    update: Measurement
    """Time of an update, alone on this machine."""
    ratio: Measurement
    """The same as a multiple of the baseline's."""
    spent: dict[str, float] = Field(default_factory=dict[str, float])
    """Trainings, and their samples, updates and seconds."""
    diverged: Measurement
    values: dict[str, tuple[float | None, ...]] = Field(
        default_factory=dict[str, tuple[float | None, ...]]
    )
    """The metric by split and seed."""
    curve: Curve = Curve()
    tried: tuple[tuple[float, float | None], ...] = ()
    """Learning rate and validation value of each trial."""


class Answer(Spec):
    """What a comparison found."""

    name: str
    recipe: str
    """The name of the recipe."""
    metric: str
    higher_is_better: bool
    seeds: int
    looks: int
    target: float | None
    rows: tuple[Row, ...]
    claim: Claimed | None = None
    notes: tuple[str, ...] = ()
    """What was said of who computed it."""
    seconds: float = 0.0
    """From the first training to the last, pauses left out."""

    @property
    def base(self) -> Row:
        """The first arm."""
        return self.rows[0]


def to_target(
    records: Sequence[Record], target: float | None, seconds: float, *, higher: bool
) -> tuple[Measurement, dict[str, Measurement]]:
    """The share of seeds that came to the target, and the median cost of all of them.

    A seed that did not come there counts as infinite; no median is given where half did not.
    """
    many = len(records)
    found = [reaching(r, target, higher=higher) if target is not None else None for r in records]
    came = [one for one in found if one is not None]
    reached = share(len(came), many, how=f"{len(came)} of {many} seeds, Wilson interval")
    if 2 * len(came) <= many:
        return reached, {}
    samples, updates = (_padded([one[i] for one in came], many) for i in (0, 1))
    return reached, {
        "samples": _median(samples, "samples", len(came)),
        "updates": _median(updates, "updates", len(came)),
        "seconds": _median(updates * seconds, "s", len(came)),
    }


def curve_of(records: Sequence[Record]) -> Curve:
    """The curve of an arm; points that not all seeds have are left out."""
    many = min((len(r.curve) for r in records if not r.diverged), default=0)
    whole = [r for r in records if len(r.curve) >= many and many]
    if not whole:
        return Curve()
    values = np.array([[_nan(p[2]) for p in r.curve[:many]] for r in whole])
    low, middle, high = (_row(np.nanquantile(values, q, axis=0)) for q in (0.25, 0.5, 0.75))
    samples = tuple(float(p[0]) for p in whole[0].curve[:many])
    updates = tuple(float(p[1]) for p in whole[0].curve[:many])
    return Curve(samples=samples, updates=updates, median=middle, low=low, high=high)


def gap(records: Sequence[Record], *, higher: bool) -> Measurement:
    """The mean of how much better the metric is in training than on the test split."""
    sign = 1 if higher else -1
    pairs = [(r.values.get("train"), r.values.get("test")) for r in records]
    found = [sign * (a - b) for a, b in pairs if a is not None and b is not None]
    return over(found)


def over(values: Sequence[float]) -> Measurement:
    """The mean over seeds with its interval; 0 of n = 0 where there is none."""
    if not values:
        return Measurement(value=0.0, n=0, how="no seed has a value")
    return mean(values)


def diverged(records: Sequence[Record]) -> Measurement:
    """The share of trainings that diverged."""
    many = sum(bool(r.diverged) for r in records)
    return share(many, len(records), how=f"{many} of {len(records)} seeds, Wilson interval")


def spent(records: Sequence[Record]) -> dict[str, float]:
    """What trainings took together."""
    return {
        "trainings": float(len(records)),
        "samples": float(sum(r.samples for r in records)),
        "updates": float(sum(r.updates for r in records)),
        "seconds": sum(r.seconds for r in records),
    }


def _median(values: np.ndarray, unit: str, came: int) -> Measurement:
    low, middle, high = (float(np.quantile(values, q, method="higher")) for q in (0.25, 0.5, 0.75))
    ends = {} if math.isinf(high) else {"low": low, "high": high}
    how = f"median over {len(values)} seeds, {came} of which came there; ends are quartiles"
    return Measurement(value=middle, unit=unit, n=len(values), how=how, **ends)


def _padded(values: Sequence[float], many: int) -> np.ndarray:
    return np.array([*values, *[math.inf] * (many - len(values))], float)


def _row(values: np.ndarray) -> tuple[float | None, ...]:
    return tuple(float(v) if math.isfinite(v) else None for v in values)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
