"""Moments: count, mean, variance, least and greatest of columns, in mergeable parts.

Merging: Chan, Golub & LeVeque, 1983, "Algorithms for computing the sample variance: analysis and
recommendations". Within a block each lane of numbers is shifted by its own first value, so that a
large mean does not swallow a small spread (E[x^2] - E[x]^2 does). The mean is kept as a center and
an offset from it: two parts of data with a mean of 1e9 merge as exactly as two with a mean of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import final

import numpy as np

_BLOCK = 1 << 17  # numbers worked on at once: 1 MiB as float64, which a cache holds
_WIDE = 512  # lanes summed side by side, so that a few columns are as fast as many


@final
@dataclass(frozen=True)
class Moments:
    """What is known of some columns; each array is `(columns,)`."""

    count: np.ndarray  # int64: values that are there; nan is none
    center: np.ndarray  # float64: a value of the column, or 0
    offset: np.ndarray  # float64: from the center to the mean
    squares: np.ndarray  # float64: sum of the squared distances from the mean
    low: np.ndarray  # float64: least value; inf where there is none
    high: np.ndarray  # float64: greatest value; -inf where there is none

    @classmethod
    def none(cls, columns: int) -> Moments:
        """Of no rows yet: merging with it changes nothing."""
        zeros, infinite = np.zeros(columns), np.full(columns, np.inf)
        return cls(np.zeros(columns, np.int64), zeros, zeros, zeros, infinite, -infinite)

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        """Of numbers `(rows, columns)` or `(rows,)` of any numeric type; nan means missing.

        Raises ValueError if a number is infinite.
        """
        rows = values[:, None] if values.ndim == 1 else values
        with np.errstate(invalid="ignore", over="ignore"):
            found = _of_whole_rows(rows)
            if np.isfinite(found.squares).all():
                return found
            return cls.beside([_of_present(rows[:, i]) for i in range(rows.shape[1])])

    @classmethod
    def beside(cls, parts: Sequence[Moments]) -> Moments:
        """Of the columns of each part, in order; there is at least one part."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([vars(part)[name] for part in parts]) for name in names))

    def merge(self, other: Moments) -> Moments:
        """Of both parts together."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        known = self.count > 0
        apart = (other.center - self.center) + (other.offset - self.offset)
        return Moments(
            count,
            np.where(known, self.center, other.center),
            np.where(known, self.offset + apart * share, other.offset),
            self.squares + other.squares + apart * apart * share * self.count,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    @property
    def mean(self) -> np.ndarray:
        """The mean of each column; 0 where no value is there."""
        return self.center + self.offset

    @property
    def variance(self) -> np.ndarray:
        """The mean squared distance from the mean (division by the count)."""
        return self.squares / np.maximum(self.count, 1)

    @property
    def std(self) -> np.ndarray:
        """The standard deviation (division by the count), 0 where it is nothing but rounding."""
        found = np.sqrt(self.variance)
        largest = np.where(self.count > 0, np.maximum(np.abs(self.low), np.abs(self.high)), 0.0)
        return np.where(found > 10 * np.finfo(np.float64).eps * largest, found, 0.0)


def _of_whole_rows(rows: np.ndarray) -> Moments:
    """Of rows `(rows, columns)` without gaps; not finite where there are some after all."""
    count, columns = rows.shape
    found = Moments.none(columns)
    if not rows.size:
        return found
    beside = max(1, _WIDE // columns)  # rows that lie side by side
    lanes = beside * columns
    groups = count // beside
    blocks = max(1, round(groups * lanes / _BLOCK))
    deep = groups // blocks  # blocks of equal size, so that little is left over
    whole = blocks * deep * beside
    even = groups * beside
    if whole:
        found = found.merge(_of_blocks(rows[:whole], deep, lanes))
    for tail, wide in ((rows[whole:even], lanes), (rows[even:], columns)):
        if len(tail):
            found = found.merge(_of_blocks(tail, tail.size // wide, wide))
    return found


def _of_blocks(rows: np.ndarray, deep: int, lanes: int) -> Moments:
    """Of rows `(rows, columns)` that make whole blocks `(deep, lanes)`."""
    columns = rows.shape[1]
    blocks = rows.size // (deep * lanes)
    height = len(rows) // blocks
    center, total, squares, low, high = np.empty((5, blocks, lanes))
    shifted = np.empty((deep, lanes))
    for i in range(blocks):
        block = rows[i * height : (i + 1) * height].reshape(deep, lanes)
        center[i] = block[0]
        np.subtract(block, center[i], out=shifted)
        np.add.reduce(shifted, axis=0, out=total[i])
        np.einsum("ij,ij->j", shifted, shifted, out=squares[i])
        low[i], high[i] = np.minimum.reduce(block, 0), np.maximum.reduce(block, 0)
    offset = total / deep
    squares -= total * offset
    parts = (center, offset, np.maximum(squares, 0.0), low, high)
    return _together(deep, *(part.reshape(-1, columns) for part in parts))


def _together(
    deep: int,
    center: np.ndarray,
    offset: np.ndarray,
    squares: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> Moments:
    """One of many parts of `deep` rows each; all arrays `(parts, columns)`."""
    parts, columns = center.shape
    apart = (center - center[0]) + offset  # of each part's mean from the first center
    mean = apart.mean(0)
    apart -= mean
    total = squares.sum(0) + deep * (np.square(apart).sum(0) - np.square(apart.sum(0)) / parts)
    count = np.full(columns, deep * parts, np.int64)
    return Moments(count, center[0].copy(), mean, total, low.min(0), high.max(0))


def _of_present(column: np.ndarray) -> Moments:
    present = column[~np.isnan(column)]
    if np.isinf(present).any():
        raise ValueError("expected finite numbers, found an infinite one")
    return _of_whole_rows(present[:, None])
