"""Batch: some samples, ready for a model."""

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

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        moved = tuple(x.to(device, non_blocking=True) for x in self.inputs)
        return Batch(moved, self.targets.to(device, non_blocking=True), self.ids)
