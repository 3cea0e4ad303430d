"""Means and products of many numbers a block at a time, and the directions in which they vary most.

Chan, Golub & LeVeque, 1979, "Updating formulae and a pairwise algorithm for computing sample
variances": parts merge without the cancellation of sums of squares. Pearson, 1901, for the
components. Products and eigenvectors are computed by torch in one thread on memory of its own:
otherwise their last digits would follow the number of threads.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
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
    return Moments(len(rows), mean, product(centered))


def of_bytes(blocks: Iterable[np.ndarray]) -> Moments:
    """The moments of all blocks `(n, d)` of whole numbers from -128 to 127 in float64.

    Sums of their products are exact up to 2^39 rows, in whatever order they are added.
    """
    size, first, second = 0, np.zeros(()), np.zeros(())
    for block in blocks:
        size, first, second = size + len(block), first + block.sum(0), second + block.T @ block
    return Moments(size, first / size, second - np.outer(first, first / size))


def product(rows: np.ndarray) -> np.ndarray:
    """The sum of x x^T over rows `(n, d)`, `(d, d)`, always the same to the last digit."""
    import torch

    with one_thread():
        copy = torch.tensor(rows)
        return (copy.T @ copy).numpy()


@contextmanager
def one_thread() -> Generator[None]:
    """Let torch compute in one thread within."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
    import torch

    covariance = moments.scatter / np.outer(scale, scale) / (moments.size - 1)
    with one_thread():
        variances, vectors = (x.numpy() for x in torch.linalg.eigh(torch.tensor(covariance)))
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
