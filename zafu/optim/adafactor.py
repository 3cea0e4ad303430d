"""Adafactor: Adam without a first moment; the second is a row and a column for each matrix.

Shazeer & Stern, 2018 (arXiv:1804.04235). Torch's implementation: v is the outer product of the
means of g squared over columns and over rows (a full tensor for vectors), beta2 of step t is
1 - t^beta2_decay, the update is divided by max(1, rms(update) / d), and the learning rate is
min(lr, 1 / sqrt(t)) * max(eps, rms(w)): `lr` is relative to the size of the weights. Decay is
decoupled.
State: rows + columns of a matrix, next to nothing; one tensor for a vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from zafu.nets.transfer import Rule
from zafu.optim.contract import Optimizer

if TYPE_CHECKING:
    import torch


@final
class Adafactor(Optimizer):
    """Adaptive steps whose memory grows with the sides of a matrix, not with its area."""

    kind: Literal["adafactor"] = "adafactor"
    ranges: ClassVar[dict[str, str]] = {"lr": "log:1e-4:0.1", "weight_decay": "log:1e-6:0.1"}
    lr: float = Field(default=1e-2, gt=0)
    """Learning rate, > 0, relative to the root mean square of the weights."""
    beta2_decay: float = Field(default=-0.8, le=0)
    """Exponent by which the second moment's decay grows to 1, <= 0."""
    eps: float = Field(default=1e-3, gt=0)
    """Least root mean square that weights are taken to have, > 0."""
    d: float = Field(default=1.0, ge=1)
    """Root mean square above which an update is scaled down, >= 1."""

    def looks_at_whole(self, *, hidden: bool) -> bool:
        """Yes: at the means of its row and column, and at the size of all."""
        return True

    def width_rule(self, *, hidden: bool) -> Rule | None:
        """Steps are as large as weights."""
        return "relative"

    def build(self, groups: list[dict[str, Any]]) -> list[torch.optim.Optimizer]:
        """One `torch.optim.Adafactor`."""
        import torch

        from zafu.optim.runtime.implementation import choose

        return [
            torch.optim.Adafactor(
                groups,
                lr=self.lr,
                beta2_decay=self.beta2_decay,
                eps=(None, self.eps),
                d=self.d,
                weight_decay=self.weight_decay,
                foreach=choose(groups).foreach,
            )
        ]

    def state_shapes(self, shape: tuple[int, ...], *, hidden: bool) -> dict[str, tuple[int, ...]]:
        """A row and a column over the last two dims, or a tensor for a vector; and the steps."""
        if len(shape) < 2:
            return {"step": (), "variance": shape}
        *front, rows, columns = shape
        return {"step": (), "row_var": (*front, rows, 1), "col_var": (*front, 1, columns)}
