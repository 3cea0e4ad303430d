"""Measurement: a number that was measured, with its unit, its interval and how it was had.

Intervals are at 95 %. Wilson, 1927, for a share of successes; the percentile bootstrap
(Efron, 1979) for what is computed from many samples.
"""

import math
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from pydantic import Field

from zafu.spec import Spec

Z95 = 1.959963984540054


class Measurement(Spec):
    """A measured value; `low` and `high` bound its 95 % interval where one is known."""

    value: float
    unit: str = ""
    n: int = Field(ge=0)
    """Samples (rows, bytes, repetitions) behind the value."""
    low: float | None = None
    high: float | None = None
    how: str
    """How value and interval were had, in a few words."""

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        interval = "" if self.low is None else f" [{self.low:.4g}, {self.high:.4g}]"
        return f"{self.value:.4g}{unit}{interval}"

    @classmethod
    def exact(cls, value: float, *, n: int, unit: str = "", how: str = "counted") -> Self:
        """A value without sampling error, such as a count."""
        return cls(value=value, unit=unit, n=n, how=how)


def share(successes: float, n: int, *, how: str = "Wilson interval") -> Measurement:
    """The share of successes among `n > 0` trials, with its Wilson score interval."""
    p, z2 = successes / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Measurement(value=p, n=n, low=min(low, p), high=max(high, p), how=how)


def bootstrap(
    columns: Sequence[np.ndarray],
    statistic: Callable[..., float],
    *,
    unit: str = "",
    n: int | None = None,
    draws: int = 1000,
) -> Measurement:
    """A statistic of paired columns (each `(samples, ...)`) with its percentile interval.

    Rows are drawn with replacement, `draws` times, by a fixed seed: the same data gives the same
    interval.
    """
    size, random = len(columns[0]), np.random.default_rng(0)
    value = statistic(*columns)
    drawn = np.array(
        [
            statistic(*(c[rows] for c in columns))
            for rows in (random.integers(0, size, size) for _ in range(draws))
        ]
    )
    drawn = drawn[np.isfinite(drawn)]
    found = Measurement(
        value=float(value), unit=unit, n=n or size, how=f"bootstrap over {size} samples"
    )
    if size < 2 or not len(drawn):
        return found
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    return found.model_copy(update={"low": low, "high": high})
