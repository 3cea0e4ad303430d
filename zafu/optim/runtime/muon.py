"""Muon in float32, for processors without fast bfloat16, where torch's own is 30 times slower.

Jordan et al., 2024 (kellerjordan.github.io/posts/muon). Where `torch.optim.Muon` rounds the
momentum to bfloat16 before the Newton-Schulz iteration, this one keeps float32, and takes matrices
of one shape together.
"""

# torch's operations on lists have no public names
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of x, x^3, x^5: steep at 0, near 1 between 0.7 and 1.2
EPS = 1e-7


class MuonFloat32(torch.optim.Optimizer):
    """Moves each matrix by its momentum, with all singular values brought near 1."""

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        weight_decay: float,
        momentum: float,
        nesterov: bool,
        ns_steps: int,
        adjust_lr_fn: str,
    ) -> None:
        """The settings are those of `torch.optim.Muon`."""
        defaults: dict[str, Any] = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every matrix that has a gradient, in place."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.shape].append((weight, weight.grad))
            for pairs in alike.values():
                self._move([w for w, _ in pairs], [g for _, g in pairs], group)

    def _move(self, weights: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        """Move matrices of one shape, (a, b) each."""
        momentum = group["momentum"]
        for weight in weights:
            if "momentum_buffer" not in self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        buffers = [self.state[weight]["momentum_buffer"] for weight in weights]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        aims = torch._foreach_lerp(gradients, buffers, momentum) if group["nesterov"] else buffers
        moves = orthogonalized(torch.stack(aims), steps=group["ns_steps"])  # (k, a, b)
        lr = group["lr"] * scale(weights[0].shape, group["adjust_lr_fn"])
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, list(moves.unbind()), alpha=-lr)


def orthogonalized(matrices: Tensor, *, steps: int) -> Tensor:
    """Matrices (k, a, b) with the same singular vectors and singular values near 1."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def scale(shape: torch.Size, rule: str) -> float:
    """The factor on lr for a matrix of this shape (Liu et al., 2025, arXiv:2502.16982)."""
    rows, columns = shape
    if rule == "match_rms_adamw":
        return 0.2 * max(rows, columns) ** 0.5
    return max(1.0, rows / columns) ** 0.5
