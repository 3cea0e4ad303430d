"""What a step of a chain is: a matrix that can be composed with its neighbours, or a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from zafu.augment.contract import Fill
from zafu.augment.runtime.affine import Affine, Size
from zafu.augment.runtime.tint import Tint
from zafu.batch import Batch

Magnitude = float | Tensor


@dataclass(frozen=True)
class Draw:
    """What chance gives to one step, for each sample of a batch."""

    keys: np.ndarray  # (batch,) uint64, of this step, apart from those of `uniform`
    uniform: Sequence[Tensor]  # each (batch,) float64, 0 <= u < 1, on the CPU
    both_ways: Sequence[Tensor]  # the same draws as -1 <= u < 1
    on: Tensor | None  # (batch,) bool: where the step falls; None: on all
    magnitudes: Mapping[str, Magnitude]

    def signed(self, row: int) -> Tensor:
        """A row of draws as -1 <= u < 1, `(batch,)`."""
        return self.both_ways[row]

    def where_on(self, changed: Magnitude, unchanged: Magnitude) -> Magnitude:
        """The first where the step falls, else the second."""
        if self.on is None:
            return changed
        if isinstance(changed, float) and isinstance(unchanged, float):
            change = changed - unchanged
            return self.on.double() * change + unchanged if change else changed
        return torch.where(self.on, changed, unchanged)


class Scene(NamedTuple):
    """What a step may know beside its batch."""

    epochs: np.ndarray  # (batch,) int64
    # (ids, epochs, device) -> other samples as they are when they come to this step
    partner: Callable[[np.ndarray, np.ndarray, torch.device], Batch]
    n: int  # samples of the split
    outputs: int  # classes, tokens of the vocabulary, or numbers to predict
    white: float  # the largest value of a pixel
    vocabulary: Sequence[str]  # the text of each token, or nothing
    flags: Tensor  # (numbers,) bool: columns that hold nothing but 0 and 1


@dataclass(frozen=True)
class Geometric:
    """Moves pixels: the affine map from places in the result to places in the picture."""

    inverse: Callable[[Draw, Size], Affine]
    draws: int
    fill: Fill | None = None  # None: it never looks beyond the edges
    whole_pixels: bool = False  # pixels keep their values: flips and moves by whole pixels
    magnitudes: Mapping[str, Magnitude] = field(default_factory=dict[str, Magnitude])


@dataclass(frozen=True)
class Coloring:
    """Changes colors alike at each pixel; the tensor is the mean luma of each picture."""

    tint: Callable[[Draw, Tint, Tensor], Tint]
    draws: int
    uses_mean: bool = False
    turns: bool = False  # whether it turns chroma, which costs most
    magnitudes: Mapping[str, Magnitude] = field(default_factory=dict[str, Magnitude])


@dataclass(frozen=True)
class Whole:
    """Any other change of a batch; where `draw.on` is False a sample stays as it is."""

    apply: Callable[[Batch, Draw, Scene], Batch]
    draws: int
    magnitudes: Mapping[str, Magnitude] = field(default_factory=dict[str, Magnitude])
    ready: Callable[[Batch, Scene], None] | None = None  # raises Refused where it cannot work


Step = Geometric | Coloring | Whole
