"""RMSprop: w <- w - lr * g / (sqrt(v) + eps), with v the decaying mean of g squared.

Tieleman & Hinton, 2012 (lecture 6e of Neural Networks for Machine Learning); `centered`: Graves,
2013 (arXiv:1308.0850), which takes the square of the mean of g off v. Torch's implementation: decay
is coupled, and momentum gathers the scaled gradients.
State: one tensor of the parameter's size; one more each for momentum and for `centered`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from zafu.nets.transfer import Rule
from zafu.optim.contract import Optimizer

if TYPE_CHECKING:
    import torch


@final
class RMSprop(Optimizer):
    """Gradients divided by their recent root mean square."""

    kind: Literal["rmsprop"] = "rmsprop"
    ranges: ClassVar[dict[str, str]] = {"lr": "log:3e-5:0.03", "weight_decay": "log:1e-6:0.1"}
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate, > 0: the step's scale before the schedule."""
    alpha: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the mean of g squared, 0 <= a < 1."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root, > 0, lest it be zero."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Share of the last step's direction that is kept, 0 <= m < 1."""
    centered: bool = False
    """Divide by the standard deviation in place of the root mean square."""

    def width_rule(self, *, hidden: bool) -> Rule | None:
        """Steps do not know how large gradients are, unless decay is in them."""
        return None if self.decays else "normalized"

    def build(self, groups: list[dict[str, Any]]) -> list[torch.optim.Optimizer]:
        """One `torch.optim.RMSprop`."""
        import torch

        from zafu.optim.runtime.implementation import choose

        return [
            torch.optim.RMSprop(
                groups,
                lr=self.lr,
                alpha=self.alpha,
                eps=self.eps,
                momentum=self.momentum,
                centered=self.centered,
                weight_decay=self.weight_decay,
                foreach=choose(groups).foreach,
            )
        ]

    def state_shapes(self, shape: tuple[int, ...], *, hidden: bool) -> dict[str, tuple[int, ...]]:
        """The mean of squares, and what momentum and centring need."""
        shapes = {"step": (), "square_avg": shape}
        if self.momentum:
            shapes["momentum_buffer"] = shape
        if self.centered:
            shapes["grad_avg"] = shape
        return shapes
