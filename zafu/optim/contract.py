"""The contract of an optimizer: it says which settings it has and builds its torch optimizers."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from zafu.nets.transfer import Rule
from zafu.optim.rate import LearningRate
from zafu.spec import Family, Spec

if TYPE_CHECKING:
    import torch


Share = Annotated[float, Field(ge=0, lt=1)]  # of what is kept, such as a momentum or a beta
Size = Annotated[float, Field(gt=0)]  # of a step


class Group(Spec):
    """Settings for the parameters whose names match a pattern."""

    match: str
    """Shell pattern of parameter names, such as "*.embed_tokens.*"."""
    lr_scale: float = Field(default=1.0, ge=0)
    """Factor on the learning rate; 0 freezes."""
    weight_decay: float | None = Field(default=None, ge=0)
    """Weight decay of these, in place of the optimizer's."""


class Optimizer(Family):
    """Changes weights by their gradients."""

    kind: str
    lr: Size | LearningRate = 1e-3
    """Learning rate, > 0: the step's scale before the schedule; few know how to find it."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay, >= 0; norms and biases are exempt unless `groups` says otherwise."""
    groups: tuple[Group, ...] = ()
    """Exceptions by name; the last one that matches a parameter counts."""

    def looks_at_whole(self, *, hidden: bool) -> bool:
        """Whether a number's move depends on others of its tensor; `hidden` as in `build`."""
        return False

    def width_rule(self, *, hidden: bool) -> Rule | None:
        """What its steps are proportional to (`zafu.nets.transfer`); None: not known as it is set.

        `hidden` as in `build`.
        """
        return None

    @property
    def decays(self) -> bool:
        """Whether any parameter has weight decay."""
        return self.weight_decay > 0 or any(group.weight_decay for group in self.groups)

    @abstractmethod
    def build(self, groups: list[dict[str, Any]]) -> Sequence[torch.optim.Optimizer]:
        """The torch optimizers over parameter groups.

        A group holds `params` (pairs of name and parameter), `lr`, `weight_decay`, `lr_scale` (by
        which `lr` was scaled) and `hidden` (the names of its matrices between embedding and head).
        """

    @abstractmethod
    def state_shapes(self, shape: tuple[int, ...], *, hidden: bool) -> dict[str, tuple[int, ...]]:
        """What the torch optimizer keeps of a parameter between steps: shapes by torch's names."""

    @property
    def start(self) -> float:
        """The learning rate of the first step, before the schedule."""
        return self.lr.start if isinstance(self.lr, LearningRate) else self.lr

    @property
    def state_per_parameter(self) -> float:
        """Numbers kept for each weight of a large hidden matrix; times 4 for bytes in float32."""
        side = 4096
        shapes = self.state_shapes((side, side), hidden=True).values()
        return round(sum(math.prod(shape) for shape in shapes) / side**2, 2)
