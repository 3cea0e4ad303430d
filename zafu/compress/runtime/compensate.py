"""Error compensation: what rounding or removing a weight does is made good by the weights after it.

Hassibi & Stork, 1993, one column at a time for all rows: GPTQ (Frantar et al., 2022,
arXiv:2210.17323) where weights are rounded, SparseGPT (Frantar & Alistarh, 2023, arXiv:2301.00774)
where some go. Both are one loop over the columns of a matrix; what differs is what is done to one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

DAMPING = 1e-2  # of the mean of the diagonal of the Gram matrix
BLOCK = 128  # columns after which the rest of the matrix is brought up to date

# from the columns from `start` on, as they are now `(rows, block)`, and the diagonal of the
# inverse there `(block,)`: what decides on each column
Begin = Callable[[int, Tensor, Tensor], None]
Change = Callable[[int, Tensor], Tensor]  # a column `(rows,)`, as it is now -> as it shall be


def compensated(
    weight: Tensor, gram: Tensor, change: Change, *, begin: Begin | None = None, every: int = BLOCK
) -> Tensor:
    """The matrix `(rows, columns)` with each column changed and the later ones adapted to that.

    `gram` is the mean of x^T x of what the matrix reads, `(columns, columns)` in float64. `begin`
    is called before each block of `every` columns; columns are changed from the first to the last.
    """
    upper = inverse_root(gram).to(weight.dtype)
    left, columns = weight.clone(), weight.shape[1]
    for start in range(0, columns, every):
        end = min(start + every, columns)
        block, root = left[:, start:end].clone(), upper[start:end, start:end]
        if begin:
            begin(start, block, root.diagonal())
        errors = torch.zeros_like(block)
        for at in range(end - start):
            new = change(start + at, block[:, at])
            errors[:, at] = (block[:, at] - new) / root[at, at]
            block[:, at] = new
            if at + 1 < end - start:
                block[:, at + 1 :].addr_(errors[:, at], root[at, at + 1 :], alpha=-1)
        left[:, start:end] = block
        if end < columns:
            left[:, end:].addmm_(errors, upper[start:end, end:], alpha=-1)
    return left


def inverse_root(gram: Tensor) -> Tensor:
    """The upper Cholesky factor of the inverse of a damped Gram matrix.

    A column that was never read has a 1 on its diagonal: nothing is lost by changing it.
    """
    gram = gram.clone()
    diagonal = gram.diagonal()
    diagonal[diagonal == 0] = 1
    diagonal += DAMPING * diagonal.mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    return torch.linalg.cholesky(inverse, upper=True)
