"""Linear layers whose weights have 4 bits: 16 levels for each group of neighbours in a row.

Frantar et al., 2022 (arXiv:2210.17323) on what to round to. Two weights lie in a byte; each group
has a scale and a lowest level in bfloat16. A CPU multiplies few rows by torch's own 4-bit kernel
and many by widened weights, both in bfloat16: with float32 rows the kernel falls back to a loop
that is fifty times slower. These layers do not learn.
"""

# torch's kernels for 4 bits have no public names
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu.nets.surgery import copied_bias

FEW = 128  # rows up to which the kernel is faster than widening the weights
SHRUNK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)  # of a group's range, which lose least is taken
OUTPUTS = 16  # the kernel makes so many at a time, and no others


class Int4Linear(nn.Module):
    """A linear layer; `group` weights in a row share their levels."""

    bits = 4
    levels: Tensor  # (outputs, inputs / 2) uint8: the even column in the low half
    scale: Tensor  # (outputs, inputs / group) bfloat16
    low: Tensor  # (outputs, inputs / group) bfloat16, the lowest level
    bias: Tensor | None

    def __init__(self, like: nn.Linear | nn.Embedding, group: int) -> None:
        super().__init__()
        device, self.group = like.weight.device, group
        self.out_features, self.in_features = like.weight.shape
        groups = (self.out_features, self.in_features // group)
        size = (self.out_features, self.in_features // 2)
        self.register_buffer("levels", torch.zeros(size, dtype=torch.uint8, device=device))
        self.register_buffer("scale", torch.ones(groups, dtype=torch.bfloat16, device=device))
        self.register_buffer("low", torch.zeros(groups, dtype=torch.bfloat16, device=device))
        self.register_buffer("bias", copied_bias(like))
        self._packed: tuple[tuple[int, int], Tensor, Tensor] | None = None

    @property
    def numbers(self) -> int:
        """How many weights it has."""
        return self.levels.numel() * 2

    def take(self, levels: Tensor, scale: Tensor, low: Tensor) -> None:
        """In place: levels 0 to 15 `(outputs, inputs)`, with their groups' scales and lows."""
        self.levels.copy_(levels[:, ::2] | (levels[:, 1::2] << 4))
        self.scale.copy_(scale)
        self.low.copy_(low)

    def unpacked(self) -> Tensor:
        """The levels, `(outputs, inputs)` uint8."""
        return _two(self.levels)

    def widened(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The weights as floats."""
        return _floats(self.levels, self.scale.to(dtype), self.low.to(dtype))

    def vectors(self, ids: Tensor) -> Tensor:
        """Its rows as floats, `(...)` to `(..., inputs)`."""
        return _floats(self.levels[ids], self.scale[ids].float(), self.low[ids].float())

    def forward(self, x: Tensor) -> Tensor:
        """`(..., inputs)` to `(..., outputs)`."""
        rows = x.reshape(-1, self.in_features).bfloat16()
        able = x.device.type == "cpu" and not self.out_features % OUTPUTS
        if able and len(rows) <= FEW:
            weight, grids = self._kernel()
            found = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, weight, self.group, grids)
        else:
            found = functional.linear(rows, self.widened(torch.bfloat16))
        found = found.to(x.dtype).view(*x.shape[:-1], self.out_features)
        return found if self.bias is None else found + self.bias

    def _kernel(self) -> tuple[Tensor, Tensor]:
        version = self.levels._version, self.levels.data_ptr()
        if self._packed is None or self._packed[0] != version:
            levels = self.unpacked().int()
            weight = torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels, 1)
            middle = self.low.float() + 8 * self.scale.float()  # what the kernel calls zero
            grids = torch.stack([self.scale.float(), middle], -1).transpose(0, 1)
            self._packed = version, weight, grids.contiguous().bfloat16()
        return self._packed[1:]

    def _apply(self, fn: Any, recurse: bool = True) -> Int4Linear:
        self._packed = None
        return super()._apply(fn, recurse)


def _two(levels: Tensor) -> Tensor:
    """The two levels in each byte, `(..., n)` to `(..., 2n)`."""
    return torch.stack([levels & 15, levels >> 4], -1).flatten(-2)


def _floats(levels: Tensor, scale: Tensor, low: Tensor) -> Tensor:
    """What bytes `(..., n)` stand for, of which each group has its scale and low `(..., m)`."""
    groups = _two(levels).unflatten(-1, (scale.shape[-1], -1)).to(scale.dtype)
    return torch.addcmul(low[..., None], groups, scale[..., None]).flatten(-2)


def best_grid(block: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and lowest level of 16 levels for each row of `(rows, group)`, rounded to bfloat16.

    Of some ranges, each a part of the whole one, the one with the least squared error.
    """
    high, low = block.amax(1), block.amin(1)
    middle, least = (high + low) / 2, torch.full_like(high, torch.inf)
    scale, start = torch.ones_like(high), torch.zeros_like(high)
    for share in SHRUNK:
        half = (high - low) / 2 * share
        own = narrow((2 * half / 15).clamp(min=1e-8))
        begin = narrow(middle - half)
        level = ((block - begin[:, None]) / own[:, None]).round().clamp(0, 15)
        lost = (level * own[:, None] + begin[:, None] - block).square().sum(1)
        better = lost < least
        least = lost.where(better, least)
        scale, start = own.where(better, scale), begin.where(better, start)
    return scale, start


def narrow(x: Tensor) -> Tensor:
    """Rounded to bfloat16, in the type that it has."""
    return x.bfloat16().to(x.dtype)


def blank(layer: nn.Module, group: int) -> Int4Linear:
    """A layer in 4 bits for a whole one; its weights are undefined. KeyError where it cannot be."""
    if isinstance(layer, (nn.Linear, nn.Embedding)) and not layer.weight.shape[1] % group:
        return Int4Linear(layer, group)
    raise KeyError(f"no groups of {group} for {layer}")
