"""Adagrad: w <- w - lr * g / (sqrt(s) + eps), with s the sum of all g squared so far.

Duchi, Hazan & Singer, 2011 (JMLR 12). Torch's implementation: decay is coupled. The steps shrink
by themselves, so that a schedule is seldom needed; a rare feature keeps its large steps.
State: one tensor of the parameter's size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from zafu.nets.transfer import Rule
from zafu.optim.contract import Optimizer

if TYPE_CHECKING:
    import torch


@final
class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares."""

    kind: Literal["adagrad"] = "adagrad"
    ranges: ClassVar[dict[str, str]] = {"lr": "log:1e-3:1", "weight_decay": "log:1e-6:0.1"}
    lr: float = Field(default=1e-2, gt=0)
    """Learning rate, > 0: the step's scale before the schedule."""
    initial_accumulator_value: float = Field(default=0.0, ge=0)
    """What the sum of squares starts from, >= 0; a larger one tames the first steps."""
    eps: float = Field(default=1e-10, gt=0)
    """Added to the root, > 0, lest it be zero."""

    def width_rule(self, *, hidden: bool) -> Rule | None:
        """Steps do not know how large gradients are, unless something is added to them."""
        return None if self.decays or self.initial_accumulator_value else "normalized"

    def build(self, groups: list[dict[str, Any]]) -> list[torch.optim.Optimizer]:
        """One `torch.optim.Adagrad`."""
        import torch

        from zafu.optim.runtime.implementation import choose

        how = choose(groups, fused=("cpu", "cuda"))
        return [
            torch.optim.Adagrad(
                groups,
                lr=self.lr,
                initial_accumulator_value=self.initial_accumulator_value,
                eps=self.eps,
                weight_decay=self.weight_decay,
                foreach=how.foreach,
                fused=how.fused,
            )
        ]

    def state_shapes(self, shape: tuple[int, ...], *, hidden: bool) -> dict[str, tuple[int, ...]]:
        """The sum of squares, and the number of steps."""
        return {"step": (), "sum": shape}
