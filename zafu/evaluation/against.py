"""Against: two models on the same samples, paired, metric by metric.

Shares of right answers by the exact McNemar test (1947), all else by a bootstrap that draws the
same samples of both. What is not shown is not equal. Each metric is a question of its own: the
verdicts are not corrected for how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from zafu.errors import DataError
from zafu.measure import Measurement, percentiles
from zafu.metrics import Metric, Share
from zafu.statistics import Verdict, mcnemar
from zafu.task import Task


def compared(
    task: Task, metrics: Iterable[str], own: np.ndarray, other: np.ndarray, *, units: int
) -> list[dict[str, Any]]:
    """For each metric both values, how much `own` is above `other`, and the verdict on `own`.

    Answers `(samples, k)` of both are to the same samples in the same order. A metric that is not
    defined for one of them is left out.
    """
    found: list[dict[str, Any]] = []
    for metric in metrics:
        try:
            first, second = (task.row(metric, x, units=units) for x in (own, other))
            values, size = (first.score(), second.score()), difference(first, second)
        except DataError:
            continue
        higher = task.higher_is_better(metric)
        verdict = _verdict(size, higher=higher)
        found.append(
            {
                "metric": metric,
                "this": values[0],
                "other": values[1],
                "difference": size.dump(),
                "verdict": verdict,
            }
        )
    return found


def difference(first: Metric, second: Metric) -> Measurement:
    """The value of the first less that of the second, with its interval."""
    if isinstance(first, Share) and isinstance(second, Share):
        return mcnemar(first.holds, second.holds).size
    many = len(first.columns)

    def less(*drawn: np.ndarray) -> np.ndarray:
        return first.statistic(*drawn[:many]) - second.statistic(*drawn[many:])

    found = percentiles((*first.columns, *second.columns), less, draws=first.draws)
    return found.model_copy(update={"how": f"paired {found.how}"})


def _verdict(size: Measurement, *, higher: bool) -> Verdict:
    if size.low is None or size.high is None or size.low <= 0 <= size.high:
        return "not shown"
    return "better" if (size.value > 0) == higher else "worse"
