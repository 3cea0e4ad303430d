"""Learning rates that are found while training: `lr: auto` of Adam and AdamW.

The normalized multiplicative hypergradient: before each step, lr <- lr * exp(rate * cos(g, u)),
where g is the gradient that is about to be used, u the direction of the step before, and cos the
cosine between them over all weights at once. A step that the next gradient still agrees with was
too short; one that it opposes was too long. Baydin et al., 2017 (arXiv:1703.04782), take the dot
product itself and add it, whose scale differs from task to task; a cosine has none. With Adam u is
m' / (sqrt(v') + eps), which its state gives: no further memory, and one more walk through it.

It looks one step ahead, and so lowers the rate too early where noise is large (Wu et al., 2018,
arXiv:1803.02021): hence `floor`. It cannot undo a start that diverges: start low.
"""

from __future__ import annotations

from typing import Literal, final

from pydantic import Field

from zafu.spec import Family


class LearningRate(Family):
    """How a learning rate is found."""

    kind: str
    start: float = Field(default=1e-4, gt=0)
    """Learning rate of the first step, > 0."""


@final
class Auto(LearningRate):
    """Longer steps while gradients agree with the step before, shorter ones when they oppose it."""

    kind: Literal["auto"] = "auto"
    rate: float = Field(default=0.1, gt=0, le=1)
    """By which power of e a step changes it at most, 0 < r <= 1."""
    floor: float = Field(default=0.01, ge=0, le=1)
    """Least share of the largest learning rate so far that it falls to, 0 to 1."""
