"""CP: a kernel as the sum of terms, each of them a product of four vectors.

Lebedev et al., 2014 (arXiv:1412.6553), by alternating least squares (Carroll & Chang, 1970). A best
sum need not exist: terms may grow and cancel each other (de Silva & Lim, 2008, arXiv:math/0607647).
So each step is pulled a little to the factor before it, which leaves what is exact as it is, and
the vectors of a term are kept equally long.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zafu.nets.factored import CPConv

STEPS = 300  # of all four factors at most
STILL = 1e-4  # the share of the error that ten steps must take off to go on
PULL = 1e-3  # of the mean of the diagonal


def terms(kernel: Tensor, rank: int) -> list[Tensor]:
    """The factors of a kernel `(outputs, inputs, height, width)`, each `(its size, rank)`."""
    random = torch.Generator().manual_seed(0)
    kernel = kernel.detach().double()
    factors = [_first(kernel, dim, rank, random) for dim in range(4)]
    gone = float("inf")
    for step in range(STEPS):
        for dim in range(4):
            factors[dim] = _fitted(kernel, factors, dim)
        sizes = torch.stack([factor.norm(dim=0).clamp(min=1e-30) for factor in factors])
        equal = sizes.log().mean(0).exp()
        factors = [factor * equal / size for factor, size in zip(factors, sizes, strict=True)]
        if step % 10 == 9:
            error = float((kernel - whole(factors)).norm())
            if error > (1 - STILL) * gone or error < 1e-12 * float(kernel.norm()):
                break
            gone = error
    return factors


def whole(factors: list[Tensor]) -> Tensor:
    """The kernel that these factors make."""
    return torch.einsum("or,ir,hr,wr->oihw", *factors)


def _first(kernel: Tensor, dim: int, rank: int, random: torch.Generator) -> Tensor:
    """The leading directions in a dim, and drawn ones where the rank is larger."""
    flat = kernel.movedim(dim, 0).flatten(1)
    leading = torch.linalg.svd(flat @ flat.T)[0][:, :rank]
    size = (len(flat), rank - leading.shape[1])
    drawn = torch.randn(size, generator=random, dtype=kernel.dtype) / len(flat) ** 0.5
    return torch.cat([leading, drawn.to(kernel.device)], 1)


def _fitted(kernel: Tensor, factors: list[Tensor], dim: int) -> Tensor:
    """The best factor in a dim for the others as they are."""
    other = dim ^ 1  # outputs with inputs, height with width
    one, two = (factors[d] for d in ((2, 3) if dim < 2 else (0, 1)))
    pairs = (one[:, None] * two).flatten(0, 1)
    across = kernel.flatten(2) if dim < 2 else kernel.flatten(0, 1).movedim(0, -1)
    read = ((across @ pairs) * factors[other].unsqueeze(dim % 2)).sum(1 - dim % 2)
    gram = (one.T @ one) * (two.T @ two) * (factors[other].T @ factors[other])
    pull = PULL * gram.diagonal().mean()
    damped = gram + pull * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.linalg.solve(damped, (read + pull * factors[dim]).T).T


def take(made: CPConv, factors: list[Tensor]) -> None:
    """In place: let the four convolutions have these factors."""
    outputs, inputs, height, width = factors
    with torch.no_grad():
        made.up.weight.copy_(outputs[:, :, None, None])
        made.down.weight.copy_(inputs.T[:, :, None, None])
        made.tall.weight.copy_(height.T[:, None, :, None])
        made.wide.weight.copy_(width.T[:, None, None, :])
