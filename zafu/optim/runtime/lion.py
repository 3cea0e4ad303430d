"""Lion as a torch optimizer: Chen et al., 2023 (arXiv:2302.06675), algorithm 2."""

# torch's operations on lists have no public names
# pyright: reportPrivateImportUsage=false

from typing import Any

import torch
from torch import Tensor


class Lion(torch.optim.Optimizer):
    """Moves each weight by lr along the sign of an interpolated momentum."""

    def __init__(
        self,
        params: list[dict[str, Any]],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Change the weights in place by the gradients that they hold."""
        for group in self.param_groups:
            for weights in _portions([p for p in group["params"] if p.grad is not None]):
                for weight in weights:
                    if not self.state[weight]:
                        self.state[weight]["exp_avg"] = torch.zeros_like(weight)
                _move(
                    weights,
                    [p.grad for p in weights],  # pyright: ignore[reportArgumentType]
                    [self.state[p]["exp_avg"] for p in weights],
                    group,
                )


def _portions(weights: list[Tensor]) -> list[list[Tensor]]:
    """All at once on a GPU, to save launches; one by one on a CPU, to stay in its cache."""
    if weights and weights[0].device.type == "cuda":
        return [weights]
    return [[weight] for weight in weights]


def _move(
    weights: list[Tensor], gradients: list[Tensor], means: list[Tensor], group: dict[str, Any]
) -> None:
    lr, (beta1, beta2) = group["lr"], group["betas"]
    directions = torch._foreach_lerp(means, gradients, 1 - beta1)
    torch._foreach_sign_(directions)
    if group["weight_decay"]:
        torch._foreach_mul_(weights, 1 - lr * group["weight_decay"])
    torch._foreach_add_(weights, directions, alpha=-lr)
    torch._foreach_lerp_(means, gradients, 1 - beta2)
