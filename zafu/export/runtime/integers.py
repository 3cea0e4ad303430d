"""Layers of integers as ONNX has them: weights stay in 8 or 4 bits in the file and in memory.

MatMulInteger and ConvInteger (onnx.ai) add in 32 bits; a scale for each row that is read, as ours.
MatMulNBits (ONNX Runtime's contrib operators) reads blocks of 16 levels: w = scale (level - zero).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.onnx.ops import symbolic

from zafu.export.contract import Source
from zafu.export.runtime.forms import WIDE, Form
from zafu.nets.fp8 import Fp8, Fp8Conv, Fp8Linear
from zafu.nets.int4 import Int4Linear
from zafu.nets.int8 import LEAST, Int8Conv, Int8Linear
from zafu.nets.table import Table


class Linear8(nn.Module):
    """`Int8Linear`: rows in 8 bits by a scale of their own, or by the calibrated range of all."""

    weight: Tensor  # (inputs, outputs) int8
    scale: Tensor  # (outputs,)
    bias: Tensor
    zero: Tensor  # of what is read, uint8

    def __init__(self, layer: Int8Linear) -> None:
        super().__init__()
        self.outputs = layer.out_features
        self.register_buffer("weight", layer.weight.t().contiguous())
        self.register_buffer("scale", layer.scale)
        self.register_buffer("bias", _bias(layer))
        size, zero = layer.grid(layer.weight) if layer.reads == "static" else (None, 128)
        self.size: float | None = size
        self.register_buffer("zero", torch.tensor(zero, dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        """`(..., inputs)` to `(..., outputs)`."""
        size = self.size or (x.abs().amax(-1, keepdim=True) / 127).clamp(min=LEAST)
        whole = (x / size + self.zero).round().clamp(0, 255).to(torch.uint8)
        shape = [*x.shape[:-1], self.outputs]
        added = symbolic(
            "MatMulInteger", (whole, self.weight, self.zero), dtype=torch.int32, shape=shape
        )
        return added.float() * (size * self.scale) + self.bias

    def vectors(self, ids: Tensor) -> Tensor:
        """Its rows as floats, `(...)` to `(..., inputs)`."""
        found = self.weight.index_select(1, ids.flatten()).t().float()
        return found.view(*ids.shape, -1) * self.scale[ids].unsqueeze(-1)


class Widening8(nn.Module):
    """An 8-bit layer that reads floats: its weights are widened as they are used."""

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, layer: Int8Linear | Int8Conv) -> None:
        super().__init__()
        self.how: dict[str, Any] | None = layer.how if isinstance(layer, Int8Conv) else None
        shape = (-1, *[1] * (layer.weight.dim() - 1))
        self.register_buffer("weight", layer.weight)
        self.register_buffer("scale", layer.scale.view(shape))
        self.register_buffer("bias", _bias(layer))

    def forward(self, x: Tensor) -> Tensor:
        """As the layer."""
        weight = self.weight.float() * self.scale
        if self.how is None:
            return functional.linear(x, weight, self.bias)
        return functional.conv2d(x, weight, self.bias, **self.how)

    def vectors(self, ids: Tensor) -> Tensor:
        """Its rows as floats, `(...)` to `(..., inputs)`."""
        return self.weight[ids].float() * self.scale[ids]


class Conv8(nn.Module):
    """`Int8Conv`: the tensor that is read in 8 bits, by its own range or a calibrated one."""

    weight: Tensor  # uint8, of which 128 is 0: ONNX Runtime has no kernel for those with a sign
    middle: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, layer: Int8Conv) -> None:
        super().__init__()
        self.how, self.outputs = layer.how, layer.out_channels
        self.grid = layer.grid(layer.weight) if layer.reads == "static" else None
        self.register_buffer("weight", (layer.weight.int() + 128).to(torch.uint8))
        self.register_buffer("middle", torch.tensor(128, dtype=torch.uint8))
        self.register_buffer("scale", layer.scale.view(-1, 1, 1))
        self.register_buffer("bias", _bias(layer).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, in_channels, height, width)` to `(batch, out_channels, height, width)`."""
        size, zero = self.grid or self._range(x)
        whole = (x / size + zero).round().clamp(0, 255).to(torch.uint8)
        high, wide = self.how["padding"]
        attributes: dict[str, Any] = {
            "strides": [*self.how["stride"]],
            "dilations": [*self.how["dilation"]],
            "pads": [high, wide, high, wide],
            "group": self.how["groups"],
        }
        sides = zip(x.shape[2:], self.weight.shape[2:], self.how["padding"], strict=True)
        steps = zip(self.how["stride"], self.how["dilation"], strict=True)
        size_of = [
            (side + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
            for (side, kernel, pad), (stride, dilation) in zip(sides, steps, strict=True)
        ]
        added = symbolic(
            "ConvInteger",
            (whole, self.weight, torch.as_tensor(zero).to(torch.uint8), self.middle),
            attributes,
            dtype=torch.int32,
            shape=[x.shape[0], self.outputs, *size_of],
        )
        return added.float() * (size * self.scale) + self.bias

    def _range(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low, high = x.min().clamp(max=0), x.max().clamp(min=0)
        size = ((high - low) / 255).clamp(min=LEAST)
        return size, (-low / size).round()


class Linear4(nn.Module):
    """`Int4Linear`: blocks of 16 levels."""

    levels: Tensor  # (outputs, groups, group / 2) uint8
    scale: Tensor  # (outputs, groups)
    zero: Tensor  # (outputs, groups): the level that would be 0, between two
    bias: Tensor

    def __init__(self, layer: Int4Linear) -> None:
        super().__init__()
        self.sizes = layer.in_features, layer.out_features, layer.group
        scale, low = layer.scale.float(), layer.low.float()
        self.register_buffer("levels", layer.levels.unflatten(1, (-1, layer.group // 2)))
        self.register_buffer("scale", scale)
        self.register_buffer("zero", -low / scale)
        self.register_buffer("bias", _bias(layer))

    def forward(self, x: Tensor) -> Tensor:
        """`(..., inputs)` to `(..., outputs)`."""
        inputs, outputs, group = self.sizes
        found = symbolic(
            "com.microsoft::MatMulNBits",
            (x, self.levels, self.scale, self.zero),
            {"K": inputs, "N": outputs, "bits": 4, "block_size": group},
            dtype=torch.float32,
            shape=[*x.shape[:-1], outputs],
            version=1,
        )
        return found + self.bias


def _bias(layer: Int8Linear | Int8Conv | Int4Linear) -> Tensor:
    if layer.bias is None:
        return torch.zeros(len(layer.scale))
    return layer.bias


def _linear(layer: Int8Linear) -> nn.Module:
    return Widening8(layer) if layer.reads == "float" else Linear8(layer)


def _conv(layer: Int8Conv) -> nn.Module:
    return Widening8(layer) if layer.reads == "float" else Conv8(layer)


def _table(layer: Table) -> nn.Module:
    rows = layer.rows
    if isinstance(rows, Int8Linear):
        return Table(_linear(rows))  # pyright: ignore[reportArgumentType]
    return WIDE[Table](layer)


FORMS: dict[type[nn.Module], Form] = {
    Int8Linear: _linear,
    Int8Conv: _conv,
    Int4Linear: Linear4,
    Table: _table,
    Fp8Linear: WIDE[Fp8Linear],
    Fp8Conv: WIDE[Fp8Conv],
}


def tell(source: Source) -> None:
    """Say so where 8-bit floats become wide in the file."""
    for name, layer in source.module.named_modules():
        if isinstance(layer, Fp8):
            source.say(f"ONNX Runtime has no 8-bit floats ({name} …): they are widened to 32")
            return
