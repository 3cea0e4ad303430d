"""Penalties: what is added to the loss for the size of weights.

Applied to gradients or, for L1, by a proximal step after the optimizer's, never by a graph over all
weights. Only parameters of two or more dims are penalized: norms and biases are exempt. Adaptive
optimizers scale a penalty's gradient as they scale the loss's; a proximal step they do not.
"""

# torch's operations on lists have no public names
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.spec import Family

if TYPE_CHECKING:
    from torch import Tensor

Method = Literal["proximal", "subgradient"]


class Penalty(Family):
    """A cost of the size of weights."""

    kind: str
    strength: float = Field(default=1e-4, ge=0)
    """Factor on the penalty in the loss, >= 0."""
    match: str = "*"
    """Shell pattern of the names of the parameters that are penalized."""

    @abstractmethod
    def add_gradients(self, weights: list[Tensor], gradients: list[Tensor]) -> None:
        """In place: add what the penalty contributes to each gradient of the loss."""

    @abstractmethod
    def shrink(self, weights: list[Tensor], lr: float) -> None:
        """In place: the proximal step that follows an optimizer's step of size `lr`."""


@final
class L2(Penalty):
    """strength / 2 * sum(w^2): ridge (Hoerl & Kennard, 1970); coupled weight decay with SGD."""

    kind: Literal["l2"] = "l2"
    ranges: ClassVar[dict[str, str]] = {"strength": "log:1e-5:0.1"}

    def add_gradients(self, weights: list[Tensor], gradients: list[Tensor]) -> None:
        """In place: g += strength * w."""
        import torch

        torch._foreach_add_(gradients, weights, alpha=self.strength)

    def shrink(self, weights: list[Tensor], lr: float) -> None:
        """Nothing: all of it is in the gradients."""


@final
class L1(Penalty):
    """strength * sum(|w|): lasso (Tibshirani, 1996)."""

    kind: Literal["l1"] = "l1"
    ranges: ClassVar[dict[str, str]] = {"strength": "log:1e-6:0.01"}
    method: Method = "proximal"
    """Shrink after the step, which gives exact zeros (Parikh & Boyd, 2014), or add sign(w) to g."""

    def add_gradients(self, weights: list[Tensor], gradients: list[Tensor]) -> None:
        """In place: g += strength * sign(w) by the method `subgradient`."""
        if self.method == "subgradient":
            _add_signs(weights, gradients, self.strength)

    def shrink(self, weights: list[Tensor], lr: float) -> None:
        """In place: w = sign(w) * max(|w| - lr * strength, 0) by the method `proximal`."""
        if self.method == "proximal":
            _soft_threshold(weights, lr * self.strength)


@final
class ElasticNet(Penalty):
    """strength * (l1_ratio * sum(|w|) + (1 - l1_ratio) / 2 * sum(w^2)): Zou & Hastie, 2005."""

    kind: Literal["elastic-net"] = "elastic-net"
    ranges: ClassVar[dict[str, str]] = {"strength": "log:1e-6:0.01"}
    l1_ratio: float = Field(default=0.5, ge=0, le=1)
    """Share of L1 in the mixture, 0 to 1."""
    method: Method = "proximal"
    """Shrink after the step, which gives exact zeros, or add to g."""

    def add_gradients(self, weights: list[Tensor], gradients: list[Tensor]) -> None:
        """In place: the gradients of both parts by the method `subgradient`."""
        import torch

        if self.method == "subgradient":
            _add_signs(weights, gradients, self.strength * self.l1_ratio)
            torch._foreach_add_(gradients, weights, alpha=self.strength * (1 - self.l1_ratio))

    def shrink(self, weights: list[Tensor], lr: float) -> None:
        """In place: L1's shrinkage, then a division, by the method `proximal`."""
        import torch

        if self.method == "proximal":
            _soft_threshold(weights, lr * self.strength * self.l1_ratio)
            torch._foreach_div_(weights, 1 + lr * self.strength * (1 - self.l1_ratio))


def _add_signs(weights: list[Tensor], gradients: list[Tensor], strength: float) -> None:
    import torch

    torch._foreach_add_(gradients, torch._foreach_sign(weights), alpha=strength)


def _soft_threshold(weights: list[Tensor], threshold: float) -> None:
    for w in weights:  # lists at once take six times as long on a CPU: they leave its cache
        w.sub_(w.clamp(-threshold, threshold))  # w - w is exactly 0 where |w| <= threshold
