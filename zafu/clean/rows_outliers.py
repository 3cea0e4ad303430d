"""Outliers: rows with a number far from where the others are.

z: Iglewicz & Hoaglin, 1993, "How to detect and handle outliers", the modified z-score by median and
median absolute deviation, which the outliers themselves hardly move; or the plain z-score by mean
and standard deviation. iqr: Tukey, 1977, "Exploratory data analysis", the fences about the
quartiles. Columns of which half or more are one value have no such spread and are passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal, final

import numpy as np
from pydantic import Field

from zafu.clean.contract import RowCleaning, RowsCleaned
from zafu.clean.rows_matrix import numeric

if TYPE_CHECKING:
    import polars as pl

_MAD = 0.6745  # the 0.75 quantile of the normal distribution: its MAD in standard deviations


@final
class OutliersZ(RowCleaning):
    """Training rows with a number many deviations from the middle of its column."""

    kind: Literal["outliers-z"] = "outliers-z"
    scope: ClassVar[Literal["all", "train"]] = "train"
    most: float = Field(default=6.0, gt=0)
    """Deviations that are still near, above 0; 3.5 is the authors' for one normal column."""
    by: Literal["median", "mean"] = "median"
    """What z counts from: the median by the median absolute deviation, or the mean by the std."""
    columns: tuple[str, ...] = ()
    """Columns of numbers to look at; empty: all but the target."""

    def clean(self, rows: pl.DataFrame, target: str, *, seed: int) -> RowsCleaned:
        """The first column in which a row is far gives the reason."""
        score = robust_z if self.by == "median" else plain_z
        called = "robust z" if self.by == "median" else "z"

        def far(values: np.ndarray) -> np.ndarray:
            return np.abs(score(values)) > self.most

        names = numeric(rows, target, self.columns)
        return _cleaned(rows, names, far, f"{called} above {self.most:g}")


@final
class OutliersIqr(RowCleaning):
    """Training rows with a number far below the first or above the third quartile."""

    kind: Literal["outliers-iqr"] = "outliers-iqr"
    scope: ClassVar[Literal["all", "train"]] = "train"
    most: float = Field(default=3.0, gt=0)
    """Distances between the quartiles that are still near, above 0; 1.5 is Tukey's inner fence."""
    columns: tuple[str, ...] = ()
    """Columns of numbers to look at; empty: all but the target."""

    def clean(self, rows: pl.DataFrame, target: str, *, seed: int) -> RowsCleaned:
        """The first column in which a row is far gives the reason."""

        def far(values: np.ndarray) -> np.ndarray:
            low, high = np.quantile(values, (0.25, 0.75))
            reach = self.most * (high - low)
            return ((values < low - reach) | (values > high + reach)) & (reach > 0)

        names = numeric(rows, target, self.columns)
        return _cleaned(rows, names, far, f"beyond {self.most:g} quartile distances")


def robust_z(values: np.ndarray) -> np.ndarray:
    """0.6745 (x - median) / MAD of numbers `(n,)`; 0 where the MAD is 0."""
    apart = values - np.median(values)
    deviation = float(np.median(np.abs(apart)))
    return _MAD * apart / deviation if deviation else np.zeros_like(apart)


def plain_z(values: np.ndarray) -> np.ndarray:
    """(x - mean) / std of numbers `(n,)`; 0 where the std is 0."""
    apart = values - values.mean()
    deviation = float(apart.std())
    return apart / deviation if deviation else np.zeros_like(apart)


def _cleaned(
    rows: pl.DataFrame, names: list[str], far: Callable[[np.ndarray], np.ndarray], why: str
) -> RowsCleaned:
    import polars as pl

    reasons: list[str | None] = [None] * rows.height
    for name in names:
        there = np.flatnonzero(rows[name].is_not_null().to_numpy())
        values = rows[name].drop_nulls().to_numpy()
        if len(values):
            for place in there[far(values)].tolist():
                reasons[place] = reasons[place] or f"column {name!r}: {why}"
    return RowsCleaned(pl.Series("reasons", reasons, pl.String), {})
