"""What is done to gradients before a step: clipping and noise."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from zafu.errors import Fault
from zafu.spec import Spec


class Clip(Spec):
    """Bounds on gradients. By norm: Pascanu, Mikolov & Bengio, 2012 (arXiv:1211.5063)."""

    norm: float | None = Field(default=None, gt=0)
    """Largest norm of all gradients together, > 0; above it all are scaled down."""
    value: float | None = Field(default=None, gt=0)
    """Largest size of a single number, > 0; applied before the norm."""

    def check(self) -> Iterable[Fault]:
        """An empty mapping would clip nothing."""
        if self.norm is None and self.value is None:
            yield Fault("", "norm or value", "neither")


class Noise(Spec):
    """Normal noise of variance eta / (1 + step)^gamma: Neelakantan et al., 2015 (arXiv:1511.06807).

    It is a function of the run's seed and the step, not of a state, and is added before clipping.
    """

    eta: float = Field(default=0.01, gt=0)
    """Variance at the first step, > 0; the paper chose among 0.01, 0.3 and 1."""
    gamma: float = Field(default=0.55, ge=0)
    """How fast it fades, >= 0."""

    def std(self, step: int) -> float:
        """Standard deviation of the noise at a step, counted from 0."""
        return (self.eta / (1 + step) ** self.gamma) ** 0.5
