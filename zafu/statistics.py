"""Statistics: whether a difference was shown, by how much, and how sure that is.

Corrected t for folds that share training samples: Nadeau & Bengio, 2003 (Machine Learning 52).
Exact McNemar: McNemar, 1947, on the pairs that disagree; its interval is Clopper & Pearson's, 1934.
Sign flips: Fisher, 1935. Several comparisons: Holm, 1979. Bootstrap of pairs: Efron, 1979.
All tests are two-sided. What is not shown is not equal: no test here says that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from zafu.errors import MissingExtra
from zafu.measure import Measurement, share
from zafu.spec import Spec

Verdict = Literal["better", "worse", "not shown"]
Numbers = Sequence[float] | np.ndarray

ALPHA = 0.05
FLIPS = 2**14  # sign flips up to which all are tried; beyond, as many are drawn


class Effect(Spec):
    """A measured size, and the probability of one as far from 0 if there were none."""

    size: Measurement
    p: float = Field(ge=0, le=1)


def mean(values: Numbers, *, level: float = 1 - ALPHA, unit: str = "") -> Measurement:
    """The mean of independent values with Student's interval; one value has none."""
    return paired(values, level=level, unit=unit).size


def paired(differences: Numbers, *, level: float = 1 - ALPHA, unit: str = "") -> Effect:
    """Student's t of independent differences, at least one; df n - 1.

    Values that do not vary have no interval: p is 1 if they are all 0, else that of sign flips.
    """
    d = _column(differences)
    return _student(d, 1 / len(d), level=level, unit=unit, how=f"t interval over {len(d)} seeds")


def corrected(values: Numbers, *, n_test: int, n_train: int, unit: str = "") -> Effect:
    """Nadeau & Bengio's t of values (or differences) from J folds; df J - 1.

    Folds share training samples, so the variance of their mean is taken as var * (1 / J + n_test /
    n_train), for test and training parts of these sizes, each >= 1.
    """
    if n_test < 1 or n_train < 1:
        raise ValueError(f"expected parts of at least one sample, found {n_test} and {n_train}")
    d = _column(values)
    how = f"corrected t interval over {len(d)} folds (Nadeau & Bengio)"
    return _student(d, 1 / len(d) + n_test / n_train, level=1 - ALPHA, unit=unit, how=how)


def flips(differences: Numbers, *, unit: str = "") -> Effect:
    """Sign flips of the mean of symmetric differences: no assumption of normality.

    All 2^n are tried up to n = 14, else 2^14 are drawn by a fixed seed. The interval holds what
    the test would not reject; below n = 6 it rejects nothing at 5 %, and there is none.
    """
    d = _column(differences)
    how, value = f"sign flips of {len(d)} seeds", float(d.mean())
    size = Measurement(value=value, unit=unit, n=len(d), how=how)
    signs = _signs(len(d))
    if len(d) >= 6 and np.ptp(d) > 0:
        reach = float(np.ptp(d)) * 2
        low, high = (_edge(d, signs, value, value + way * reach) for way in (-1, 1))
        size = size.model_copy(update={"low": low, "high": high})
    return Effect(size=size, p=_flipped(d, signs))


def paired_bootstrap(
    a: np.ndarray,
    b: np.ndarray,
    statistic: Callable[[np.ndarray], float],
    *,
    draws: int = 10_000,
    unit: str = "",
) -> Effect:
    """A statistic of answers a less that of b, `(samples, ...)` each, to the same samples.

    The same rows are drawn of both, by a fixed seed; p is twice the smaller share beyond 0.
    """
    if len(a) != len(b) or not len(a):
        raise ValueError(f"expected answers to the same samples, found {len(a)} and {len(b)}")
    random, n = np.random.default_rng(0), len(a)
    rows = (random.integers(0, n, n) for _ in range(draws))
    drawn = np.array([statistic(a[r]) - statistic(b[r]) for r in rows])
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [ALPHA / 2, 1 - ALPHA / 2]).tolist()
    value, how = statistic(a) - statistic(b), f"bootstrap over {n} pairs of answers"
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    size = Measurement(value=float(value), unit=unit, n=n, low=low, high=high, how=how)
    return Effect(size=size, p=min(1.0, 2 * (beyond + 1) / (len(drawn) + 1)))


def mcnemar(a: np.ndarray, b: np.ndarray) -> Effect:
    """Share of right answers of a less that of b, `(samples,)` of truth values each.

    Exact: given how many samples only one of them has right, that one is a fair coin's.
    """
    special = _scipy()
    if len(a) != len(b) or not len(a):
        raise ValueError(f"expected answers to the same samples, found {len(a)} and {len(b)}")
    won, lost = int((a & ~b).sum()), int((b & ~a).sum())
    many, n = won + lost, len(a)
    low = float(special.betaincinv(won, lost + 1, ALPHA / 2)) if won else 0.0
    high = float(special.betaincinv(won + 1, lost, 1 - ALPHA / 2)) if lost else 1.0
    low, high = ((2 * of - 1) * many / n for of in (low, high))
    p = min(1.0, 2 * float(special.bdtr(min(won, lost), many, 0.5))) if many else 1.0
    how = f"exact McNemar, {many} of {n} answers differ in being right"
    return Effect(size=Measurement(value=(won - lost) / n, n=n, low=low, high=high, how=how), p=p)


def holm(ps: Sequence[float]) -> list[float]:
    """The p of each of several tests, corrected so that all hold together at their level."""
    adjusted, highest, many = [0.0] * len(ps), 0.0, len(ps)
    for rank, at in enumerate(sorted(range(many), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (many - rank) * ps[at]))
        adjusted[at] = highest
    return adjusted


def superiority(differences: Numbers, *, higher_is_better: bool = True) -> Measurement:
    """The probability that one seed of a beats the same seed of b, from differences a - b.

    A tie counts half; Wilson's interval.
    """
    d = _column(differences) * (1 if higher_is_better else -1)
    won = float((d > 0).sum() + 0.5 * (d == 0).sum())
    return share(won, len(d), how=f"Wilson interval over {len(d)} pairs, ties count half")


def verdict(p: float, size: float, *, higher_is_better: bool, alpha: float = ALPHA) -> Verdict:
    """What a test shows of a difference of this size, with a p that is already corrected."""
    if not p < alpha or size == 0:
        return "not shown"
    return "better" if (size > 0) == higher_is_better else "worse"


def t_quantile(level: float, df: int) -> float:
    """Half the width of Student's two-sided interval at this level, in standard errors."""
    return float(_scipy().stdtrit(df, (1 + level) / 2))


def _student(d: np.ndarray, share: float, *, level: float, unit: str, how: str) -> Effect:
    """The mean and its t interval where its variance is `share` of the values'."""
    value, n = float(d.mean()), len(d)
    error = math.sqrt(float(d.var(ddof=1)) * share) if n > 1 and np.ptp(d) > 0 else 0.0
    size = Measurement(value=value, unit=unit, n=n, how=how)
    if not error:
        return Effect(size=size, p=_flipped(d, _signs(n)))
    half = t_quantile(level, n - 1) * error
    p = 2 * float(_scipy().stdtr(n - 1, -abs(value) / error))
    return Effect(size=size.model_copy(update={"low": value - half, "high": value + half}), p=p)


def _column(values: Numbers) -> np.ndarray:
    found = np.asarray(values, float)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise ValueError(f"expected a row of finite numbers, found {found.tolist()}")
    return found


def _signs(n: int) -> np.ndarray:
    """Rows of signs `(flips, n)`, the first of which changes nothing."""
    if 2**n <= FLIPS:
        return 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    drawn = np.random.default_rng(0).integers(0, 2, (FLIPS, n)) * 2.0 - 1.0
    drawn[0] = 1.0
    return drawn


def _flipped(d: np.ndarray, signs: np.ndarray) -> float:
    """The share of flips whose mean is at least as far from 0."""
    sums = np.abs(signs @ d)
    return float((sums >= sums[0] * (1 - 1e-9)).mean())


def _edge(d: np.ndarray, signs: np.ndarray, inside: float, outside: float) -> float:
    """Where between two centres the test begins to reject."""
    for _ in range(40):
        middle = (inside + outside) / 2
        if _flipped(d - middle, signs) > ALPHA:
            inside = middle
        else:
            outside = middle
    return inside


def _scipy():
    try:
        from scipy import special
    except ImportError:
        raise MissingExtra("scipy", "tune") from None
    return special
