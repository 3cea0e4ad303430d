"""Schedule-free AdamW as a torch optimizer: Defazio et al., 2024 (arXiv:2405.15682)."""

import math
from typing import Any

import torch
from torch import Tensor


class ScheduleFreeAdamW(torch.optim.Optimizer):
    """Trains y, keeps z, and gives the average x to be judged."""

    def __init__(
        self,
        params: list[dict[str, Any]],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Change y and z in place by the gradients that y holds."""
        for group in self.param_groups:
            for y in group["params"]:
                if y.grad is not None:
                    _move(y, y.grad, self.state[y], group)

    def averages(self) -> dict[Tensor, Tensor]:
        """X of every parameter that was ever moved, as new tensors."""
        found: dict[Tensor, Tensor] = {}
        for group in self.param_groups:
            beta1 = group["betas"][0]
            for y in group["params"]:
                if state := self.state.get(y):
                    found[y] = y.detach().lerp(state["z"], 1 - 1 / beta1)  # y = x + (1-b)(z-x)
        return found


def _move(y: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
    if not state:
        # double: a sum of many squares of small numbers, which must not stall
        state["step"] = torch.zeros((), dtype=torch.float64)
        state["weight_sum"] = torch.zeros((), dtype=torch.float64)
        state["z"] = y.detach().clone()
        state["exp_avg_sq"] = torch.zeros_like(y)
    beta1, beta2 = group["betas"]
    state["step"] += 1
    rate = group["lr"] * math.sqrt(1 - beta2 ** state["step"].item())
    state["weight_sum"] += rate**2
    whole = state["weight_sum"].item()
    share = rate**2 / whole if whole else 0.0  # nothing to average while warm-up stands at 0

    state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    update = gradient / state["exp_avg_sq"].sqrt().add_(group["eps"])
    if group["weight_decay"]:
        update.add_(y, alpha=group["weight_decay"])
    # y = (1-beta1) z + beta1 x after z has moved and x has followed, written without x
    y.lerp_(state["z"], share).add_(update, alpha=rate * (beta1 * (1 - share) - 1))
    state["z"].sub_(update, alpha=rate)
