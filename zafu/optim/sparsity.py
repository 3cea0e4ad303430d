"""Sparsity: single weights that become 0 while a model is trained, more and more, and stay so.

The share of zeros rises as amount * (1 - (1 - t)^3), t from 0 at `begin` to 1 at `end`: Zhu and
Gupta, 2017 (arXiv:1710.01878). Which go: the smallest, or those that training has moved towards 0,
by the sum over steps of -w * dL/dw: Sanh et al., 2020 (arXiv:2005.07683). Otherwise than there a
weight that is gone does not come back: it is 0 after every step, and so in what is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from zafu.errors import Fault
from zafu.spec import Spec

Score = Literal["magnitude", "movement"]
Scope = Literal["layer", "model"]


class Zeros(Spec):
    """Which share of the weights of matrices becomes 0, and when: what a recipe and a link set."""

    amount: float = Field(default=0.8, ge=0, lt=1)
    """Share of the weights that are 0 in the end, 0 <= a < 1."""
    score: Score = "magnitude"
    """Which go first: the smallest, or by movement those that training moves towards 0."""
    scope: Scope = "layer"
    """Whether each matrix loses that share, or all of them together."""
    begin: float = Field(default=0.0, ge=0, lt=1)
    """Share of the budget before the first zeros, 0 <= b < 1."""
    end: float = Field(default=0.75, gt=0, le=1)
    """Share of the budget after which all are there, > begin; a step must follow it."""
    every: int = Field(default=10, ge=1)
    """Steps between which more weights go, >= 1."""
    layers: tuple[str, ...] = ("*",)
    """Patterns of names of the linear layers and convolutions whose weights may go; a matrix that
    is tied to another stays whole."""
    skip: tuple[str, ...] = ("lm_head", "head")
    """Patterns of names of those that keep all."""


class Sparsity(Zeros):
    """Which share of the weights of matrices becomes 0 during training, and when."""

    def check(self) -> Iterable[Fault]:
        """There is time between begin and end."""
        yield from window(self.begin, self.end)

    def share(self, progress: float) -> float:
        """The share that is 0 when so much of the budget is spent, 0 to `amount`."""
        spent = (progress - self.begin) / (self.end - self.begin)
        return self.amount * (1 - (1 - min(max(spent, 0.0), 1.0)) ** 3)


def window(begin: float, end: float) -> Iterable[Fault]:
    """A fault unless one comes before the other."""
    if begin >= end:
        yield Fault("end", f"a share > begin, {begin:g}", f"{end:g}")
