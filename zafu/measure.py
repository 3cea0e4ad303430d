"""Measurement: a number that was measured, with its unit, its interval and how it was had.

Intervals are at 95 %. Wilson, 1927, for a share of successes; the percentile bootstrap
(Efron, 1979) for what is computed from many samples.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import numpy as np
from pydantic import Field

from zafu.spec import Spec

Z95 = 1.959963984540054
DRAWS = 1000  # of a bootstrap
AT_ONCE = 1 << 20  # numbers that are drawn at once: 8 MiB


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
    draws: int = DRAWS,
) -> Measurement:
    """A statistic of paired columns (each `(samples, ...)`) with its percentile interval.

    Rows are drawn with replacement, `draws` times, by a fixed seed: the same data gives the same
    interval.
    """

    def each(*drawn: np.ndarray) -> np.ndarray:
        return np.array([statistic(*row) for row in zip(*drawn, strict=True)])

    return percentiles(columns, each, unit=unit, n=n, draws=draws)


def percentiles(
    columns: Sequence[np.ndarray],
    statistic: Callable[..., np.ndarray],
    *,
    unit: str = "",
    n: int | None = None,
    draws: int = DRAWS,
) -> Measurement:
    """`bootstrap` of a statistic that takes many draws at once.

    It is given columns of `(draws, samples, ...)` and gives the value of each draw, `(draws,)`.
    Draws whose value is not finite, such as a rate of a class that was not drawn, do not count.
    """
    size = len(columns[0])
    value = float(statistic(*(column[None] for column in columns))[0])
    drawn = np.concatenate([statistic(*rows) for rows in _drawn(columns, draws)])
    kept = drawn[np.isfinite(drawn)]
    some = "" if draws == DRAWS else f", {draws} draws"
    some = some if len(kept) == draws else f", {len(kept)} of {draws} draws defined"
    how = f"bootstrap over {size} samples{some}"
    found = Measurement(value=value, unit=unit, n=n or size, how=how)
    if size < 2 or not len(kept):
        return found
    low, high = np.quantile(kept, [0.025, 0.975]).tolist()
    return found.model_copy(update={"low": low, "high": high})


def _drawn(columns: Sequence[np.ndarray], draws: int) -> Iterator[list[np.ndarray]]:
    """Rows drawn with replacement, as many draws at once as memory takes well."""
    size, random = len(columns[0]), np.random.default_rng(0)
    numbers = sum(column.size for column in columns)
    some = max(1, min(draws, AT_ONCE // max(numbers, 1)))
    for start in range(0, draws, some):
        rows = random.integers(0, size, (min(some, draws - start), size))
        yield [column[rows] for column in columns]
