"""Quantiles of the symmetric Beta distribution, with their exact derivative in its parameter.

The distribution function is integrated by Gauss & Legendre after t = x w^k, which takes the pole
away, and inverted by Newton's method in log x. A quantile of a keyed uniform number is a sample;
since it is a smooth function of alpha, gradients of an expectation are unbiased, as they are not
through rejection. One further step of Newton's method carries the derivative (the implicit
function theorem; Figurnov et al., 2018, arXiv:1805.08498).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_NODES = 16  # a power of 2
_STEPS = 4
_RULE = np.polynomial.legendre.leggauss(_NODES)  # points and weights on -1 to 1


def symmetric_beta(uniform: Tensor, alpha: float | Tensor) -> Tensor:
    """The quantiles of Beta(alpha, alpha) at `uniform` `(batch,)` float64; alpha 0.05 to 32."""
    strength = torch.as_tensor(alpha, dtype=torch.float64).cpu()
    lower = torch.minimum(uniform, 1 - uniform).clamp(min=2.0**-54)  # the rest is its mirror image
    target = lower.log()
    with torch.no_grad():
        value, slope = _log_share(torch.full_like(target, math.log(0.5)), strength)
        x = ((target - value) / strength + math.log(0.5)).clamp(max=math.log(0.5))
        for _ in range(_STEPS):
            value, slope = _log_share(x, strength)
            x = (x - (value - target) / slope).clamp(max=math.log(0.5))
        _, slope = _log_share(x, strength)
    if strength.requires_grad:
        x = x - (_log_share(x, strength)[0] - target) / slope
    small = x.exp()
    return torch.where(uniform < 0.5, small, 1 - small)


def _log_share(log_x: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """The log of the distribution function at x <= 1/2, and its slope in log x: `(batch,)` each."""
    points, weights = (torch.from_numpy(a)[:, None] for a in _RULE)
    log_w, weights = ((points + 1) / 2).log(), weights / 2
    smooth = 3 if alpha > 0.5 else 1  # as few as leave no pole in a derivative
    power = smooth / alpha.clamp(max=1)
    parts = (1 - (log_x + power * log_w).exp()).log() * (alpha - 1) + (power * alpha - 1) * log_w
    total = _sum(parts.exp() * weights)  # (batch,)
    beta = 2 * torch.lgamma(alpha) - torch.lgamma(2 * alpha)
    value = alpha * log_x + power.log() + total.log() - beta
    slope = (alpha * log_x + (1 - log_x.exp()).log() * (alpha - 1) - beta - value).exp()
    return value, slope


def _sum(rows: Tensor) -> Tensor:
    """The sum over rows in one order: a reduction may choose its own by the batch's size."""
    while len(rows) > 1:
        rows = rows[: len(rows) // 2] + rows[len(rows) // 2 :]
    return rows[0]
