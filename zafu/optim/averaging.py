"""Averages of weights along training, by which a model is judged and shipped."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, final

from pydantic import Field

from zafu.spec import Family


class Average(Family):
    """Which weights enter an average, and by how much: a <- a + weight * (w - a).

    Floating-point buffers that are saved with the model are averaged like weights.
    Memory: one tensor of the parameter's size, in float32 at least.
    """

    kind: str

    @abstractmethod
    def due(self, step: int, progress: float) -> bool:
        """Whether the weights enter after this step, before which `progress` was spent."""

    @abstractmethod
    def weight(self, count: int) -> float:
        """The weight, 0 to 1, of what enters when `count` are in the average already."""


@final
class EMA(Average):
    """An exponential moving average: Polyak & Juditsky, 1992; with its bias taken off.

    The weight (1 - d) / (1 - d^(count + 1)) makes it the mean of all weights so far, each weighted
    by d to the power of its age: the first weights are not favoured.
    """

    kind: Literal["ema"] = "ema"
    decay: float = Field(default=0.999, gt=0, lt=1)
    """Factor d on the weight of each older step, 0 < d < 1; it looks back 1 / (1 - d) steps."""

    def due(self, step: int, progress: float) -> bool:
        """After every step."""
        return True

    def weight(self, count: int) -> float:
        """1, then less and less, down to 1 - d."""
        return (1 - self.decay) / (1 - self.decay ** (count + 1))


@final
class SWA(Average):
    """The plain mean of weights late in training: Izmailov et al., 2018 (arXiv:1803.05407).

    Before the first is taken the weights as trained are judged. Statistics of batch norm are
    averaged, not measured anew.
    """

    kind: Literal["swa"] = "swa"
    start: float = Field(default=0.75, ge=0, lt=1)
    """Share of the budget after which weights are averaged, 0 <= s < 1."""
    every: int = Field(default=1, ge=1)
    """Steps between two weights that are averaged, >= 1."""

    def due(self, step: int, progress: float) -> bool:
        """After every `every`th step from `start` on."""
        return progress >= self.start and step % self.every == 0

    def weight(self, count: int) -> float:
        """The same for all."""
        return 1 / (count + 1)
