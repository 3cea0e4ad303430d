"""AdamW: w <- (1 - lr * weight_decay) * w, then Adam's step without decay in the gradient.

Loshchilov & Hutter, 2017 (arXiv:1711.05101). Torch's implementation, in which decay is scaled by
the learning rate of the step.
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
class AdamW(Optimizer):
    """Adaptive moments with decoupled weight decay."""

    kind: Literal["adamw"] = "adamw"
    ranges: ClassVar[dict[str, str]] = {"lr": "log:1e-4:0.1", "weight_decay": "log:1e-4:1"}
    lr: Size | LearningRate = 1e-3
    """Learning rate, > 0: the step's scale before the schedule; auto: found while training."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay, >= 0; norms and biases are exempt unless `groups` says otherwise."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Decay of the means of g and of g squared, each 0 <= b < 1."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root, > 0, lest it be zero."""

    def width_rule(self, *, hidden: bool) -> Rule | None:
        """Steps do not know how large gradients are."""
        return "normalized"

    def build(self, groups: list[dict[str, Any]]) -> list[torch.optim.Optimizer]:
        """One `torch.optim.AdamW`."""
        import torch

        from zafu.optim.runtime.implementation import choose

        how = choose(groups, fused=("cpu", "cuda"))
        return [
            torch.optim.AdamW(
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
