"""Layers that compute as if their weights were already rounded, and learn all the same.

Quantization-aware training, Jacob et al., 2018 (arXiv:1712.05877): rounding is passed straight
through by gradients (Bengio et al., 2013, arXiv:1308.3432).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu.nets.int4 import best_grid


class Fake(nn.Linear):
    """A linear layer that sees its weights on the grid that they will have."""

    bits: int
    group: int  # weights in a row that share levels; 0: the row

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """`(..., inputs)` to `(..., outputs)`."""
        return functional.linear(x, straight(self.weight, self.bits, self.group), self.bias)


def straight(weight: Tensor, bits: int, group: int) -> Tensor:
    """Rounded weights, with the gradient of those that are not."""
    with torch.no_grad():
        rows = weight.unflatten(1, (-1, group)) if group else weight.unsqueeze(1)
        if bits == 8:
            scale = (rows.abs().amax(2, keepdim=True) / 127).clamp(min=1e-12)
            found = (rows / scale).round().clamp(-127, 127) * scale
        else:
            grid = best_grid(rows.flatten(0, 1))
            scale, low = (x.view(*rows.shape[:2], 1) for x in grid)
            found = ((rows - low) / scale).round().clamp(0, 15) * scale + low
        away = found.view_as(weight) - weight
    return weight + away


def fake(layer: nn.Linear, bits: int, group: int) -> None:
    """In place: let a linear layer, with its weights, be such a one."""
    layer.__class__ = Fake
    made = cast("Fake", layer)
    made.bits, made.group = bits, group
