"""Lion: w <- (1 - lr * weight_decay) * w - lr * sign(beta1 * m + (1 - beta1) * g).

Chen et al., 2023 (arXiv:2302.06675), found by program search; afterwards m <- beta2 * m +
(1 - beta2) * g. Every weight moves by lr at each step, so lr wants to be 3 to 10 times smaller, and
weight decay as many times larger, than with AdamW. Our own implementation, since torch has none.
State: one tensor of the parameter's size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from zafu.nets.transfer import Rule
from zafu.optim.contract import Optimizer, Share

if TYPE_CHECKING:
    import torch


@final
class Lion(Optimizer):
    """The sign of a momentum: steps of equal length for all weights."""

    kind: Literal["lion"] = "lion"
    ranges: ClassVar[dict[str, str]] = {"lr": "log:1e-5:0.01", "weight_decay": "log:1e-3:3"}
    lr: float = Field(default=1e-4, gt=0)
    """Learning rate, > 0: how far each weight moves in a step, before the schedule."""
    betas: tuple[Share, Share] = (0.9, 0.99)
    """Share of m in the step's direction, and decay of m, each 0 <= b < 1."""

    def width_rule(self, *, hidden: bool) -> Rule | None:
        """Steps do not know how large gradients are."""
        return "normalized"

    def build(self, groups: list[dict[str, Any]]) -> list[torch.optim.Optimizer]:
        """One optimizer of ours."""
        from zafu.optim.runtime.lion import Lion as TorchLion

        return [TorchLion(groups, lr=self.lr, betas=self.betas, weight_decay=self.weight_decay)]

    def state_shapes(self, shape: tuple[int, ...], *, hidden: bool) -> dict[str, tuple[int, ...]]:
        """The mean of the gradients."""
        return {"exp_avg": shape}
