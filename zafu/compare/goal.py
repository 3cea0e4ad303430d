"""The goal: a value of the metric that arms are to come to, and when a training did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from zafu.compare.kept import Record

NEAR = 0.01  # of the best arm's median final value: how much less is as good as there


def target_of(finals: Mapping[str, Sequence[Record]], *, higher: bool) -> float | None:
    """99 % of the best arm's median final value on the validation split, or 1 % above where less
    is better.
    """
    medians: list[float] = []
    for records in finals.values():
        values = [v for r in records if (v := r.values.get("validation")) is not None]
        if 2 * len(values) > len(records):
            medians.append(float(np.median(values)))
    if not medians:
        return None
    best = max(medians) if higher else min(medians)
    return best - NEAR * abs(best) if higher else best + NEAR * abs(best)


def reaching(record: Record, target: float, *, higher: bool) -> tuple[int, int] | None:
    """Samples and updates at which a training came to the target; None if it did not."""
    for samples, updates, value in record.curve:
        if value is not None and (value >= target if higher else value <= target):
            return samples, updates
    return None
