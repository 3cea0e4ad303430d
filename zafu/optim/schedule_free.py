"""Schedule-free AdamW: steps without a schedule whose weights are judged at their average.

Defazio et al., 2024 (arXiv:2405.15682), algorithm 1: gradients are taken at y = (1 - beta1) * z +
beta1 * x; z <- z - r * (g / (sqrt(v) + eps) + weight_decay * y); x <- (1 - c) * x + c * z, where
r = lr * sqrt(1 - beta2^t), v is the decaying mean of g squared, and c = r^2 / (sum of all r^2).
The model holds y while it trains and x while it is judged or shipped. Our own implementation. Use
a constant schedule, with or without a warm-up. Statistics of batch norm are those seen at y.
State: two tensors of the parameter's size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, final

from pydantic import Field

from zafu.nets.transfer import Rule
from zafu.optim.contract import Optimizer, Share

if TYPE_CHECKING:
    import torch


@final
class ScheduleFree(Optimizer):
    """AdamW that averages its way in place of lowering its learning rate."""

    kind: Literal["schedule-free"] = "schedule-free"
    ranges: ClassVar[dict[str, str]] = {"lr": "log:1e-4:0.1", "weight_decay": "log:1e-4:1"}
    lr: float = Field(default=2.5e-3, gt=0)
    """Learning rate, > 0; it may be larger than AdamW's."""
    betas: tuple[Annotated[float, Field(gt=0, lt=1)], Share] = (0.9, 0.999)
    """Share of the average in y, 0 < b < 1, and decay of the mean of g squared, 0 <= b < 1."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root, > 0, lest it be zero."""

    def width_rule(self, *, hidden: bool) -> Rule | None:
        """Steps do not know how large gradients are."""
        return "normalized"

    def build(self, groups: list[dict[str, Any]]) -> list[torch.optim.Optimizer]:
        """One optimizer of ours."""
        from zafu.optim.runtime.schedule_free import ScheduleFreeAdamW

        return [
            ScheduleFreeAdamW(
                groups,
                lr=self.lr,
                betas=self.betas,
                eps=self.eps,
                weight_decay=self.weight_decay,
            )
        ]

    def state_shapes(self, shape: tuple[int, ...], *, hidden: bool) -> dict[str, tuple[int, ...]]:
        """The fast weights z, the mean of squares, the steps, and the sum of the weights of z."""
        return {"step": (), "weight_sum": (), "z": shape, "exp_avg_sq": shape}
