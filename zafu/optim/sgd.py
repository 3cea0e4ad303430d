"""SGD: w <- w - lr * b, where b <- momentum * b + (1 - dampening) * g, and g holds the decay.

Robbins & Monro, 1951; momentum: Polyak, 1964; nesterov (g + momentum * b in place of b): Sutskever
et al., 2013. Torch's implementation: decay is coupled (g <- g + weight_decay * w) and the first b
is g itself. Full-batch gradient descent is this with a batch as large as the data.
State: one tensor of the parameter's size with momentum, none without.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from zafu.errors import Fault
from zafu.nets.transfer import Rule
from zafu.optim.contract import Optimizer

if TYPE_CHECKING:
    import torch


@final
class SGD(Optimizer):
    """Stochastic gradient descent, plain or with momentum."""

    kind: Literal["sgd"] = "sgd"
    ranges: ClassVar[dict[str, str]] = {"lr": "log:1e-3:3", "weight_decay": "log:1e-6:0.1"}
    lr: float = Field(default=0.1, gt=0)
    """Learning rate, > 0: the step's scale before the schedule."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Share of the last step's direction that is kept, 0 <= m < 1."""
    dampening: float = Field(default=0.0, ge=0, le=1)
    """Share of the new gradient that momentum leaves out, 0 to 1; needs momentum."""
    nesterov: bool = False
    """Look ahead by one step of momentum; needs momentum and no dampening."""

    def check(self) -> Iterable[Fault]:
        """Momentum's companions mean nothing without it."""
        if self.momentum == 0 and self.dampening > 0:
            yield Fault("dampening", "0 without momentum", f"{self.dampening:g}")
        if self.nesterov and (self.momentum == 0 or self.dampening > 0):
            yield Fault("nesterov", "false without momentum or with dampening", "true")

    def width_rule(self, *, hidden: bool) -> Rule | None:
        """Steps are as large as gradients."""
        return "gradient"

    def build(self, groups: list[dict[str, Any]]) -> list[torch.optim.Optimizer]:
        """One `torch.optim.SGD`."""
        import torch

        from zafu.optim.runtime.implementation import choose

        # without momentum one call of axpy is all there is: fused takes twice as long on a CPU
        how = choose(groups, fused=("cpu", "cuda") if self.momentum else ("cuda",))
        return [
            torch.optim.SGD(
                groups,
                lr=self.lr,
                momentum=self.momentum,
                dampening=self.dampening,
                nesterov=self.nesterov,
                foreach=how.foreach,
                fused=how.fused,
            )
        ]

    def state_shapes(self, shape: tuple[int, ...], *, hidden: bool) -> dict[str, tuple[int, ...]]:
        """The direction of the last step, if there is momentum."""
        return {"momentum_buffer": shape} if self.momentum else {}
