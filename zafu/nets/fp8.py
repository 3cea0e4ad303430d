"""Layers whose weights are 8-bit floats (e4m3), each output's in a scale of its own.

Micikevicius et al., 2022 (arXiv:2209.05433). Where a device multiplies such floats (CUDA from 9.0
on), what a linear layer reads is rounded too, by a scale for each row. Elsewhere, on processors
too, weights are widened for each product: that saves memory and costs time. They do not learn.
"""

# the product of scaled floats has no public name
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu.nets.surgery import copied_bias

KIND = torch.float8_e4m3fn
MOST = 448.0  # the largest number of the type
LEAST = 1e-12  # a scale is never 0
ABLE = (9, 0)  # of CUDA, from which on rows and outputs may have a scale each
SIXTEEN = 16  # inputs and outputs come in multiples of it there
KEPT = -(1 << 31) | 0x7F << 20  # the bits of a sign and of a number, in an integer of 32 bits


class Fp8(nn.Module):
    """What both kinds of layers have."""

    bits = 8
    weight: Tensor  # float8_e4m3fn, its first dim the outputs
    scale: Tensor  # (outputs,) float32
    bias: Tensor | None

    def __init__(self, like: nn.Linear | nn.Conv2d | nn.Embedding) -> None:
        super().__init__()
        weight = like.weight
        self.register_buffer("weight", torch.zeros_like(weight, dtype=KIND, requires_grad=False))
        self.register_buffer("scale", torch.ones(len(weight), device=weight.device))
        self.register_buffer("bias", copied_bias(like))

    @property
    def numbers(self) -> int:
        """How many weights it has."""
        return self.weight.numel()

    def take(self, weight: Tensor) -> None:
        """In place: round these weights, each output's largest to the largest of the type."""
        scale = sizes(weight.detach().flatten(1))
        self.scale.copy_(scale)
        self.weight.copy_((weight / _by_output(scale, weight)).clamp(-MOST, MOST).to(KIND))

    def widened(self) -> Tensor:
        """The weights as floats of 32 bits."""
        return widened(self.weight) * _by_output(self.scale, self.weight)


class Fp8Linear(Fp8):
    """A linear layer."""

    def __init__(self, like: nn.Linear | nn.Embedding) -> None:
        super().__init__(like)
        self.out_features, self.in_features = like.weight.shape

    def forward(self, x: Tensor) -> Tensor:
        """`(..., inputs)` to `(..., outputs)`."""
        whole = not (self.in_features % SIXTEEN or self.out_features % SIXTEEN)
        if whole and x.is_cuda and torch.cuda.get_device_capability(x.device) >= ABLE:
            return self.by_scales(x)
        return functional.linear(x, self.widened().to(x.dtype), self.bias)

    def by_scales(self, x: Tensor) -> Tensor:
        """The same by the device's own product: what is read is rounded, each row by its scale."""
        rows = x.reshape(-1, self.in_features).float()
        scale = sizes(rows)[:, None]
        narrow = (rows / scale).clamp(-MOST, MOST).to(KIND)
        found = torch._scaled_mm(
            narrow, self.weight.t(), scale, self.scale[None], out_dtype=torch.bfloat16
        )
        found = found.to(x.dtype).view(*x.shape[:-1], self.out_features)
        return found if self.bias is None else found + self.bias

    def vectors(self, ids: Tensor) -> Tensor:
        """Its rows as floats, `(...)` to `(..., inputs)`."""
        return widened(self.weight.view(torch.int8)[ids].view(KIND)) * self.scale[ids].unsqueeze(-1)


class Fp8Conv(Fp8):
    """A convolution, by widened weights everywhere."""

    def __init__(self, like: nn.Conv2d) -> None:
        super().__init__(like)
        self.how: dict[str, Any] = {
            "stride": like.stride,
            "padding": like.padding,
            "dilation": like.dilation,
            "groups": like.groups,
        }

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, in_channels, height, width)` to `(batch, out_channels, height, width)`."""
        return functional.conv2d(x, self.widened().to(x.dtype), self.bias, **self.how)


def sizes(rows: Tensor) -> Tensor:
    """The scale of each row, `(rows, ...)` to `(rows,)`."""
    return (rows.abs().amax(1) / MOST).clamp(min=LEAST).float()


def widened(narrow: Tensor) -> Tensor:
    """Finite 8-bit floats as floats of 32 bits.

    Exponent and mantissa are put where a 32-bit float has them, which is too small by a known
    power of 2: exact, and several times as fast as torch's own cast on a processor.
    """
    bits = (narrow.view(torch.int8).to(torch.int32) << 20) & KEPT
    return bits.view(torch.float32).mul_(2.0**120)


def _by_output(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (weight.dim() - 1))


def blank(layer: nn.Module) -> Fp8Linear | Fp8Conv:
    """Such a layer for a whole one; its weights are undefined. KeyError where it cannot be."""
    match layer:
        case nn.Linear() | nn.Embedding():
            return Fp8Linear(layer)
        case nn.Conv2d(padding_mode="zeros"):
            return Fp8Conv(layer)
        case _:
            raise KeyError(f"no 8-bit floats for {type(layer).__name__}")
