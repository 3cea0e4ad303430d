"""Adam: w <- w - lr * m' / (sqrt(v') + eps), with m and v the decaying means of g and g squared.

Kingma & Ba, 2014 (arXiv:1412.6980): m' = m / (1 - beta1^t), v' = v / (1 - beta2^t). Torch's
implementation: decay is coupled (g <- g + weight_decay * w before the means), so that it is scaled
by v as well; `adamw` decouples it.
State: two tensors of the parameter's size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from zafu.nets.transfer import Rule
from zafu.optim.contract import Optimizer, Share, Size
from zafu.optim.rate import LearningRate

if TYPE_CHECKING:
    import torch


@final
class Adam(Optimizer):
    """Adaptive moments; its weight decay is a part of the gradient."""

    kind: Literal["adam"] = "adam"
    ranges: ClassVar[dict[str, str]] = {"lr": "log:1e-4:0.1", "weight_decay": "log:1e-6:0.1"}
    lr: Size | LearningRate = 1e-3
    """Learning rate, > 0: the step's scale before the schedule; auto: found while training."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Decay of the means of g and of g squared, each 0 <= b < 1."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root, > 0, lest it be zero."""

    def width_rule(self, *, hidden: bool) -> Rule | None:
        """Steps do not know how large gradients are, unless decay is in them."""
        return None if self.decays else "normalized"

    def build(self, groups: list[dict[str, Any]]) -> list[torch.optim.Optimizer]:
        """One `torch.optim.Adam`."""
        import torch

        from zafu.optim.runtime.implementation import choose

        how = choose(groups, fused=("cpu", "cuda"))
        return [
            torch.optim.Adam(
                groups,
                lr=self.start,
                betas=self.betas,
                eps=self.eps,
                weight_decay=self.weight_decay,
                foreach=how.foreach,
                fused=how.fused,
            )
        ]

    def state_shapes(self, shape: tuple[int, ...], *, hidden: bool) -> dict[str, tuple[int, ...]]:
        """Both means, and the number of steps."""
        return {"step": (), "exp_avg": shape, "exp_avg_sq": shape}
