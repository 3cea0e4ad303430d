"""Schedules: the factor on the learning rate as training goes on.

A schedule is a pure function of the share of the budget that is spent, so that it means the same
for a budget in steps, epochs, tokens or seconds, and a resumed run needs no state.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import Literal, final

from pydantic import Field

from zafu.errors import Fault
from zafu.spec import Family


class Schedule(Family):
    """How the learning rate changes while the budget is spent."""

    kind: str
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of the budget in which the factor grows linearly from 0 to 1, 0 <= w < 1."""

    def factor(self, progress: float) -> float:
        """The factor, 0 to 1, for the step before which this share of the budget is spent.

        `progress` beyond 1, as when a budget in seconds runs over, counts as 1.
        """
        progress = min(max(progress, 0.0), 1.0)
        if progress < self.warmup:
            return progress / self.warmup
        return self.after((progress - self.warmup) / (1 - self.warmup))

    def ends(self) -> tuple[float, ...]:
        """The shares of the budget at which a cycle ends, where training is in cycles.

        The weights are those of a finished model then, and a checkpoint of each is kept.
        """
        return ()

    @abstractmethod
    def after(self, progress: float) -> float:
        """The factor at this share, 0 to 1, of what follows the warm-up: growing at ends only."""


@final
class Constant(Schedule):
    """The same learning rate from the end of the warm-up on."""

    kind: Literal["constant"] = "constant"

    def after(self, progress: float) -> float:
        """1."""
        return 1.0


@final
class Linear(Schedule):
    """Down to the floor along a straight line."""

    kind: Literal["linear"] = "linear"
    floor: float = Field(default=0.0, ge=0, le=1)
    """Factor at the end, 0 to 1."""

    def after(self, progress: float) -> float:
        """As `torch.optim.lr_scheduler.LinearLR` from 1 to `floor`."""
        return _between(self.floor, 1 - progress)


@final
class Cosine(Schedule):
    """Down to the floor along half a cosine: Loshchilov & Hutter, 2016 (arXiv:1608.03983)."""

    kind: Literal["cosine"] = "cosine"
    floor: float = Field(default=0.0, ge=0, le=1)
    """Factor at the end, 0 to 1."""

    def after(self, progress: float) -> float:
        """As `torch.optim.lr_scheduler.CosineAnnealingLR`, without restarts."""
        return _between(self.floor, (1 + math.cos(math.pi * progress)) / 2)


@final
class Cyclic(Schedule):
    """Half a cosine again and again: Loshchilov & Hutter, 2016; snapshots: Huang et al., 2017.

    Each cycle ends near a minimum of its own (arXiv:1704.00109); `zafu fuse` makes one model of
    them for the price of one training.
    """

    kind: Literal["cyclic"] = "cyclic"
    cycles: int = Field(default=5, ge=1, le=100)
    """Cycles of equal length, 1 to 100; at the end of each a checkpoint is kept."""
    floor: float = Field(default=0.0, ge=0, le=1)
    """Factor at the end of a cycle, 0 to 1."""

    def ends(self) -> tuple[float, ...]:
        """Evenly spaced behind the warm-up; the last one is the end of the budget."""
        rest = 1 - self.warmup
        return tuple(self.warmup + rest * n / self.cycles for n in range(1, self.cycles + 1))

    def after(self, progress: float) -> float:
        """As `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`; at the very end the floor."""
        inside = progress * self.cycles % 1 if progress < 1 else 1.0
        return _between(self.floor, (1 + math.cos(math.pi * inside)) / 2)


@final
class WSD(Schedule):
    """Warm up, stay, decay: Hu et al., 2024 (arXiv:2404.06395).

    What was trained up to the decay can be trained on with a larger budget. The decay by
    1 - sqrt(share): Hägele et al., 2024 (arXiv:2405.18392), who found it better than a line.
    """

    kind: Literal["wsd"] = "wsd"
    decay: float = Field(default=0.2, gt=0, le=1)
    """Share of the budget, at its end, in which the factor falls, 0 < d <= 1."""
    shape: Literal["sqrt", "linear"] = "sqrt"
    """How it falls: by 1 - sqrt(share of the decay), or along a line."""
    floor: float = Field(default=0.0, ge=0, le=1)
    """Factor at the end, 0 to 1."""

    def check(self) -> Iterable[Fault]:
        """Warm-up and decay must fit into the budget."""
        if self.warmup + self.decay > 1:
            yield Fault("decay", "warmup + decay <= 1", f"{self.warmup + self.decay:g}")

    def after(self, progress: float) -> float:
        """1 until the decay begins."""
        length = self.decay / (1 - self.warmup)
        share = max(0.0, 1 - (1 - progress) / length)
        return _between(self.floor, 1 - (math.sqrt(share) if self.shape == "sqrt" else share))


def _between(floor: float, height: float) -> float:
    return min(1.0, floor + (1 - floor) * height)
