"""The contract of an optimizer: it says which settings it has and builds its torch optimizers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from zafu.spec import Family, Spec

if TYPE_CHECKING:
    import torch


class Group(Spec):
    """Settings for the parameters whose names match a pattern."""

    match: str
    """Shell pattern of parameter names, such as "*.embed_tokens.*"."""
    lr_scale: float = Field(1.0, ge=0)
    """Factor on the learning rate; 0 freezes."""
    weight_decay: float | None = Field(None, ge=0)
    """Weight decay of these, in place of the optimizer's."""


class Optimizer(Family):
    """Changes weights by their gradients."""

    kind: str
    lr: float = Field(1e-3, gt=0)
    """Learning rate, > 0: the step's scale before the schedule."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay, >= 0; norms and biases are exempt unless `groups` says otherwise."""
    groups: tuple[Group, ...] = ()
    """Exceptions by name; the last one that matches a parameter counts."""

    @abstractmethod
    def build(self, groups: list[dict[str, Any]]) -> Sequence[torch.optim.Optimizer]:
        """The torch optimizers over parameter groups (`params`, `names`, `lr`, `weight_decay`)."""
