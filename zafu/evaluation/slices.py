"""Slices: the same metric on parts of the samples, and which parts are shown to fare worse.

A part is worse where it would be unlikely, below 2.5 %, for one that is as good as all samples: by
the exact binomial for shares of right answers, else by its interval. Since each of many parts has a
chance to seem so, that is corrected over the parts of a column (Holm, 1979); what is left only
without the correction is said to be so.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from zafu.errors import DataError
from zafu.measure import Z95, Measurement
from zafu.metrics import Share
from zafu.statistics import holm
from zafu.task import Task

MOST = 12  # values of a column that are judged apart; the rest together
ALPHA = 0.025  # on one side, as of an interval of 95 %
Worse = Literal["shown", "uncorrected", "no"]


def groups(values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The parts of a column by name, `(samples,)` bool each: quarters of numbers, else values."""
    numeric = values.dtype.kind == "f"
    if numeric and len(np.unique(values[np.isfinite(values)])) > MOST:
        return _quarters(values)
    names = np.array([_named(value) for value in values], object)
    found, counts = np.unique(names, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    first = sorted(found[order[:MOST]].tolist(), key=_order)
    parts = [(name, names == name) for name in first]
    if len(found) > MOST:
        rest = ~np.isin(names, first)
        parts.append((f"{len(found) - MOST} other values", rest))
    return parts


def judged(
    task: Task, metric: str, answers: np.ndarray, parts: list[tuple[str, np.ndarray]]
) -> dict[str, Any]:
    """The metric of all samples and of each part of them, as plain data.

    Parts for which it is not defined are left out.
    """
    whole = task.score(metric, answers, units=len(answers))
    higher = task.higher_is_better(metric)
    found: list[tuple[str, Measurement]] = []
    ps: list[float] = []
    for name, inside in parts:
        try:
            row = task.row(metric, answers[inside], units=int(inside.sum()))
            found.append((name, row.measured()))
            ps.append(
                _binomial(row.holds, whole)
                if isinstance(row, Share)
                else _normal(found[-1][1], whole, higher=higher)
            )
        except DataError:  # such as a ROC of one class
            continue
    marks = [_mark(p, corrected) for p, corrected in zip(ps, holm(ps), strict=True)]
    return {
        "metric": metric,
        "higher_is_better": higher,
        "all": whole,
        "parts": [
            {"name": name, "score": score.dump(), "worse": mark}
            for (name, score), mark in zip(found, marks, strict=True)
        ],
    }


def _order(name: str) -> tuple[bool, float, str]:
    """Numbers by their size, then texts."""
    try:
        return False, float(name), name
    except ValueError:
        return True, 0.0, name


def _named(value: object) -> str:
    if value is None or value != value:  # nan is unequal to itself
        return "missing"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _quarters(values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    there = values[np.isfinite(values)]
    parts: list[tuple[str, np.ndarray]] = []
    if len(there):
        cuts = np.unique(np.quantile(there, [0.25, 0.5, 0.75]))
        place = np.searchsorted(cuts, values, side="left")
        ends = [f"{cut:.4g}" for cut in cuts]
        names = [f"≤ {ends[0]}", *(f"{a} – {b}" for a, b in pairwise(ends))]
        names.append(f"> {ends[-1]}")
        finite = np.isfinite(values)
        parts = [(name, finite & (place == i)) for i, name in enumerate(names)]
    parts.append(("missing", ~np.isfinite(values)))
    return [(name, inside) for name, inside in parts if inside.any()]


def _binomial(holds: np.ndarray, whole: float) -> float:
    """How likely so few successes are where their share is that of the whole: exact."""
    n, many = len(holds), int(holds.sum())
    if not 0 < whole < 1:
        return 1.0
    k = np.arange(many + 1)
    ways = math.lgamma(n + 1) - np.array([math.lgamma(i + 1) + math.lgamma(n - i + 1) for i in k])
    return min(1.0, float(np.exp(ways + k * math.log(whole) + (n - k) * math.log1p(-whole)).sum()))


def _normal(score: Measurement, whole: float, *, higher: bool) -> float:
    """How likely a part as bad as this is, if it were as good as the whole: by its interval."""
    edge = score.high if higher else score.low
    gap = whole - score.value if higher else score.value - whole
    if edge is None or gap <= 0:
        return 1.0
    half = abs(edge - score.value) / Z95
    return 0.5 * math.erfc(gap / half / math.sqrt(2)) if half else 1.0


def _mark(p: float, corrected: float) -> Worse:
    if corrected < ALPHA:
        return "shown"
    return "uncorrected" if p < ALPHA else "no"
