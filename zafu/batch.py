"""Batch: some samples, ready for a model; and the portions that a split of samples is mixed of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor


class Batch(NamedTuple):
    """Inputs in the order in which a model takes them, targets, and which samples these are."""

    inputs: tuple[Tensor, ...]
    targets: Tensor
    ids: np.ndarray  # (batch,) int64: positions in the split, to name a sample in a message
    step: int = 0  # of the training that it is for: a key of what is drawn for it

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        moved = tuple(x.to(device, non_blocking=True) for x in self.inputs)
        return self._replace(inputs=moved, targets=self.targets.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """The same batch in memory from which a GPU copies while the processor goes on."""
        pinned = tuple(x.pin_memory() for x in self.inputs)
        return self._replace(inputs=pinned, targets=self.targets.pin_memory())


class Portion(NamedTuple):
    """Consecutive samples of a split that come as often as they weigh, however many they are."""

    samples: int
    weight: float  # > 0; only its share of the sum of all weights counts
