"""Normalization: numbers onto a common scale, by what the training split teaches.

As scikit-learn defines them: StandardScaler (division by n), MinMaxScaler, RobustScaler and
QuantileTransformer. Moments suffice for the first kinds, so these are fitted on any amount of data
in one pass and in parts; medians and quantiles need the whole column.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import Literal, TypeAlias

import numpy as np
from pydantic import Field

from zafu.data.moments import Moments
from zafu.spec import Spec

Normalize: TypeAlias = Literal[
    "z-score", "min-max", "min-max-symmetric", "robust", "quantile", "quantile-normal", "none"
]
STREAMED: frozenset[Normalize] = frozenset({"z-score", "min-max", "min-max-symmetric", "none"})
REFERENCES = 1000  # quantiles that stand for a distribution
_EDGE = 1e-7  # the least probability whose normal quantile is given: -5.2 to 5.2


class Scaler(Spec):
    """One column's scale: (value - center) / scale, or the value's place among quantiles."""

    center: float = 0.0
    """What becomes 0, in the column's unit."""
    scale: float = Field(default=1.0, gt=0)
    """What becomes a distance of 1, in the column's unit."""
    quantiles: tuple[float, ...] = ()
    """Ascending values at equal steps of probability; empty: center and scale are used."""
    normal: bool = False
    """Whether probabilities become the standard normal distribution's values."""

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Values of any shape normalized, float64; nan stays nan."""
        if not self.quantiles:
            return (values - self.center) / self.scale
        known = np.array(self.quantiles)
        steps = np.linspace(0.0, 1.0, len(known))
        # A value that fills a range of probabilities gets the middle of it, but 0 or 1 at the ends.
        upper = np.interp(values, known, steps)
        lower = 1.0 - np.interp(-values, -known[::-1], steps)
        shares = np.where(values == known[-1], 1.0, (upper + lower) / 2)
        shares = np.where(values == known[0], 0.0, shares)
        if not self.normal:
            return shares
        return _over(NormalDist().inv_cdf, np.clip(shares, _EDGE, 1 - _EDGE))

    def invert(self, values: np.ndarray) -> np.ndarray:
        """Normalized values of any shape in the column's unit, float64; nan stays nan."""
        if not self.quantiles:
            return values * self.scale + self.center
        shares = _over(NormalDist().cdf, values) if self.normal else values
        return np.interp(shares, np.linspace(0.0, 1.0, len(self.quantiles)), self.quantiles)


def fit(kind: Normalize, values: np.ndarray) -> Scaler:
    """The scaler of numbers `(n,)`, of which at least one is there and none is nan.

    Raises ValueError if they are so large that their spread is no number.
    """
    if kind in STREAMED:
        return of_moments(kind, Moments.of(values))[0]
    if kind == "robust":
        low, center, high = np.percentile(values, (25, 50, 75)).tolist()
        return _scaler(center, high - low)
    shares = np.linspace(0.0, 100.0, min(REFERENCES, len(values)))
    # Interpolated quantiles can fall by a rounding error; a place among them needs them ascending.
    quantiles = np.maximum.accumulate(np.percentile(values, shares))
    return Scaler(quantiles=tuple(quantiles.tolist()), normal=kind == "quantile-normal")


def of_moments(kind: Normalize, moments: Moments) -> tuple[Scaler, ...]:
    """A scaler for each column; `kind` is one of `STREAMED`.

    Raises ValueError if numbers are so large that their spread is no number.
    """
    if kind not in STREAMED:
        raise ValueError(f"expected one of {', '.join(sorted(STREAMED))}, found {kind}")
    low, high = moments.low, moments.high
    with np.errstate(over="ignore"):  # a Scaler refuses what is not finite
        centers, scales = {
            "z-score": (moments.mean, moments.std),
            "min-max": (low, high - low),
            "min-max-symmetric": (low / 2 + high / 2, high / 2 - low / 2),
        }.get(kind, (np.zeros_like(low), np.ones_like(low)))
    return tuple(map(_scaler, centers.tolist(), scales.tolist()))


def _scaler(center: float, scale: float) -> Scaler:
    """A scale of 0, of a column that is constant, becomes 1."""
    return Scaler(center=center, scale=scale or 1.0)


def _over(function: Callable[[float], float], values: np.ndarray) -> np.ndarray:
    """The function of each value that is there; nan stays nan."""
    flat = np.asarray(values, np.float64).ravel()
    found = [value if value != value else function(value) for value in flat.tolist()]
    return np.array(found, np.float64).reshape(values.shape)
