"""Signed hashing: any number of features in a fixed number of columns.

Weinberger et al., 2009 (arXiv:0902.2206): one part of a feature's hash says to which column it is
added, another with which sign, so that collisions cancel on average and inner products are kept.
"""

from __future__ import annotations

import numpy as np


def added(rows: np.ndarray, hashes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The sum of +1 and -1 in each column, `(buckets, n)` float64 of that shape.

    `rows` `(m,)` says to which row a feature with a hash `(m,)` uint64 belongs.
    """
    buckets, count = shape
    bucket = (hashes % np.uint64(buckets)).astype(np.int64)
    sign = 1.0 - 2.0 * (hashes >> np.uint64(63)).astype(np.float64)
    flat = np.bincount(bucket * count + rows, weights=sign, minlength=buckets * count)
    return flat.reshape(shape)


def unit(columns: np.ndarray) -> np.ndarray:
    """Columns `(k, n)` scaled, in place, so that each row that is not 0 has length 1."""
    length = np.sqrt(np.einsum("kn,kn->n", columns, columns))
    columns /= np.where(length > 0, length, 1)
    return columns
