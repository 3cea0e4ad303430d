"""Means and products of many numbers a block at a time, and the directions in which they vary most.

Chan, Golub & LeVeque, 1979, "Updating formulae and a pairwise algorithm for computing sample
variances": parts merge without the cancellation of sums of squares. Pearson, 1901, for the
components.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Moments(NamedTuple):
    """What blocks of rows come to."""

    size: int  # rows
    mean: np.ndarray  # (d,)
    scatter: np.ndarray  # (d, d): sum of (x - mean) (x - mean)^T


def of(rows: np.ndarray) -> Moments:
    """The moments of one block `(n, d)` float64, n >= 1."""
    mean = rows.mean(0)
    centered = rows - mean
    return Moments(len(rows), mean, centered.T @ centered)


def merged(one: Moments, other: Moments) -> Moments:
    """The moments of two blocks together."""
    count = one.size + other.size
    delta = other.mean - one.mean
    mean = one.mean + delta * (other.size / count)
    shift = np.outer(delta, delta) * (one.size * other.size / count)
    return Moments(count, mean, one.scatter + other.scatter + shift)


def total(blocks: Iterable[np.ndarray]) -> Moments:
    """The moments of all blocks, one after the other; there is at least one."""
    rest = iter(blocks)
    first = next(rest)
    origin = first[0]  # near all rows, if they are far from 0: differences keep more digits
    found = of(first - origin)
    for block in rest:
        found = merged(found, of(block - origin))
    return found._replace(mean=found.mean + origin)


class Components(NamedTuple):
    """Directions of most variance, the strongest first."""

    variances: np.ndarray  # (d,)
    directions: np.ndarray  # (d, d): a row each, of length 1


def components(moments: Moments, scale: np.ndarray) -> Components:
    """The components of (x - mean) / scale, at least 2 rows; variances divide by n - 1.

    The loading of largest size is positive in each, so that repetition has the same signs.
    """
    covariance = moments.scatter / np.outer(scale, scale) / (moments.size - 1)
    variances, vectors = np.linalg.eigh(covariance)
    directions = vectors.T[::-1]
    largest = np.abs(directions).argmax(1)
    signs = np.sign(directions[np.arange(len(directions)), largest])
    # in the order of memory that it has once it was stored: sums follow it
    positive = np.ascontiguousarray(directions * signs[:, None])
    return Components(np.maximum(variances[::-1], 0), positive)


def enough(variances: np.ndarray, share: float) -> int:
    """The fewest components that hold more than this share of the variance, at least one."""
    shares = np.cumsum(variances) / variances.sum()
    return min(int(np.searchsorted(shares, share, side="right")) + 1, len(variances))
