"""NAdam: Adam whose first moment looks ahead by one step, as Nesterov's momentum does.

Dozat, 2016 (ICLR workshop, Incorporating Nesterov Momentum into Adam). Torch's implementation: the
momentum of step t is beta1 * (1 - 0.5 * 0.96^(t * momentum_decay)); decay is decoupled here, as in
`adamw`.
State: two tensors of the parameter's size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from zafu.nets.transfer import Rule
from zafu.optim.contract import Optimizer, Share

if TYPE_CHECKING:
    import torch


@final
class NAdam(Optimizer):
    """Adaptive moments with Nesterov's look ahead."""

    kind: Literal["nadam"] = "nadam"
    ranges: ClassVar[dict[str, str]] = {"lr": "log:1e-4:0.1", "weight_decay": "log:1e-6:0.1"}
    lr: float = Field(default=2e-3, gt=0)
    """Learning rate, > 0: the step's scale before the schedule."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Decay of the means of g and of g squared, each 0 <= b < 1."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root, > 0, lest it be zero."""
    momentum_decay: float = Field(default=4e-3, ge=0)
    """How fast the momentum grows to beta1, >= 0."""

    def width_rule(self, *, hidden: bool) -> Rule | None:
        """Steps do not know how large gradients are."""
        return "normalized"

    def build(self, groups: list[dict[str, Any]]) -> list[torch.optim.Optimizer]:
        """One `torch.optim.NAdam`."""
        import torch

        from zafu.optim.runtime.implementation import choose

        return [
            torch.optim.NAdam(
                groups,
                lr=self.lr,
                betas=self.betas,
                eps=self.eps,
                weight_decay=self.weight_decay,
                momentum_decay=self.momentum_decay,
                decoupled_weight_decay=True,
                foreach=choose(groups).foreach,
            )
        ]

    def state_shapes(self, shape: tuple[int, ...], *, hidden: bool) -> dict[str, tuple[int, ...]]:
        """Both means, the number of steps, and the product of all momenta so far."""
        return {"step": (), "mu_product": (), "exp_avg": shape, "exp_avg_sq": shape}
