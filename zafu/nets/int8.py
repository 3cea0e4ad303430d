"""Layers in 8 bits: weights by output in a scale each, activations as they come or calibrated.

Jacob et al., 2018 (arXiv:1712.05877); a scale for each token: Yao et al., 2022 (arXiv:2206.01861).
On a CPU the products are oneDNN's, which adds in 32 bits and scales what it adds; elsewhere weights
are widened first, which saves memory and no time. These layers do not learn.
"""

# the operators that torch's own quantizers call have no public names
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu.nets.surgery import copied_bias, padding_of

Reads = Literal["dynamic", "static", "float"]
FEW = 32  # rows below which the plain integer product is faster than the packed one
LEAST = 1e-12  # a scale is never 0
ZERO = 128  # of rows without a sign


class Read(NamedTuple):
    """What layers read, in 8 bits by a scale of each row."""

    of: Tensor  # (..., inputs)
    whole: Tensor  # (rows, inputs): int8 of few rows, else uint8, whose zero is 128
    sizes: Tensor  # (rows, 1)


def read(x: Tensor) -> Read:
    """Each row `(..., inputs)` to a grid of its own."""
    rows = x.reshape(-1, x.shape[-1]).float()
    sizes = (rows.abs().amax(1, keepdim=True) / 127).clamp_(min=LEAST)
    whole = (rows / sizes).round_()
    if len(rows) < FEW:
        return Read(x, whole.to(torch.int8), sizes)
    return Read(x, whole.add_(ZERO).to(torch.uint8), sizes)


def together(x: Tensor, *layers: nn.Module) -> tuple[Tensor, ...]:
    """What layers that read the same answer; those that round it do so once."""
    once = x.device.type == "cpu" and all(
        isinstance(layer, Int8Linear) and layer.reads == "dynamic" for layer in layers
    )
    seen = read(x) if once else x
    return tuple(layer(seen) for layer in layers)


class Int8(nn.Module):
    """What both kinds of layers have."""

    bits = 8
    weight: Tensor  # int8, its first dim the outputs
    scale: Tensor  # (outputs,) float32
    bias: Tensor | None
    seen: Tensor  # of static layers: the least and the largest number that was read

    def __init__(self, like: nn.Linear | nn.Conv2d | nn.Embedding, reads: Reads) -> None:
        super().__init__()
        self.reads, shape, device = reads, like.weight.shape, like.weight.device
        self.register_buffer("weight", torch.zeros(shape, dtype=torch.int8, device=device))
        self.register_buffer("scale", torch.ones(shape[0], device=device))
        self.register_buffer("bias", copied_bias(like))
        if reads == "static":
            self.register_buffer("seen", torch.tensor([0.0, 1.0], device=device))
        self._packed: tuple[tuple[int, int], Tensor] | None = None

    @property
    def numbers(self) -> int:
        """How many weights it has."""
        return self.weight.numel()

    def take(self, weight: Tensor) -> None:
        """In place: round these weights, each output's to a grid of its own."""
        scale = (weight.detach().flatten(1).abs().amax(1) / 127).clamp(min=LEAST)
        grid = scale.view(-1, *[1] * (weight.dim() - 1))
        self.scale.copy_(scale)
        self.weight.copy_((weight / grid).round().clamp(-127, 127))

    def widened(self) -> Tensor:
        """The weights as floats."""
        return self.weight * self.scale.view(-1, *[1] * (self.weight.dim() - 1))

    def grid(self, x: Tensor) -> tuple[float, int]:
        """Scale and zero of what is read, in 8 bits without a sign, for the whole tensor."""
        low, high = (self.seen if self.reads == "static" else torch.stack(x.aminmax())).tolist()
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / 255, LEAST)
        return scale, round(-low / scale)

    def packed(self, pack: Any) -> Tensor:
        """The weights as oneDNN wants them, made when they are first needed."""
        version = self.weight._version, self.weight.data_ptr()
        if self._packed is None or self._packed[0] != version:
            self._packed = version, pack()
        return self._packed[1]

    def _apply(self, fn: Any, recurse: bool = True) -> Int8:
        self._packed = None
        return super()._apply(fn, recurse)


class Int8Linear(Int8):
    """A linear layer; dynamic: a scale for each row that is read."""

    def __init__(self, like: nn.Linear | nn.Embedding, reads: Reads) -> None:
        super().__init__(like, reads)
        self.out_features, self.in_features = like.weight.shape

    def forward(self, x: Tensor | Read) -> Tensor:
        """`(..., inputs)` to `(..., outputs)`."""
        if isinstance(x, Read):
            return self._shaped(self._dynamic(x), x.of)
        if x.device.type != "cpu" or self.reads == "float":
            return self._by_floats(x)
        if self.reads == "dynamic":
            return self._shaped(self._dynamic(read(x)), x)
        return self._shaped(self._static(x.reshape(-1, self.in_features).float()), x)

    def _shaped(self, rows: Tensor, x: Tensor) -> Tensor:
        return rows.to(x.dtype).view(*x.shape[:-1], self.out_features)

    def vectors(self, ids: Tensor) -> Tensor:
        """Its rows as floats, `(...)` to `(..., inputs)`."""
        return self.weight[ids] * self.scale[ids].unsqueeze(-1)

    def _dynamic(self, x: Read) -> Tensor:
        if x.whole.dtype == torch.int8:
            added = torch._int_mm(x.whole, self.weight.t())
            found = added.float().mul_(x.sizes).mul_(self.scale)
        else:
            found = self._product(x.whole, 1.0, ZERO, None).mul_(x.sizes)
        return found if self.bias is None else found.add_(self.bias)

    def _static(self, rows: Tensor) -> Tensor:
        scale, zero = self.grid(rows)
        whole = _whole(rows, scale, zero)
        return self._product(whole, scale, zero, self.bias)

    def _product(self, whole: Tensor, scale: float, zero: int, bias: Tensor | None) -> Tensor:
        weight = self.packed(lambda: torch.ops.onednn.qlinear_prepack(self.weight, None))
        zeros = torch.zeros(self.out_features, dtype=torch.int32)
        return torch.ops.onednn.qlinear_pointwise(
            whole, scale, zero, weight, self.scale, zeros, bias,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip

    def _by_floats(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.numel() // self.in_features < FEW:
            rows = x.reshape(-1, self.in_features).bfloat16()
            found = torch._weight_int8pack_mm(rows, self.weight, self.scale.bfloat16())
            found = found.to(x.dtype).view(*x.shape[:-1], self.out_features)
            return found if self.bias is None else found + self.bias
        return functional.linear(x, self.widened().to(x.dtype), self.bias)


class Int8Conv(Int8):
    """A convolution; dynamic: a scale for each tensor that is read."""

    def __init__(self, like: nn.Conv2d, reads: Reads) -> None:
        super().__init__(like, reads)
        self.in_channels, self.out_channels = like.in_channels, like.out_channels
        self.how: dict[str, Any] = {
            "stride": like.stride,
            "padding": padding_of(like),
            "dilation": like.dilation,
            "groups": like.groups,
        }

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, in_channels, height, width)` to `(batch, out_channels, height, width)`."""
        if x.device.type != "cpu" or self.reads == "float":
            return functional.conv2d(x, self.widened().to(x.dtype), self.bias, **self.how)
        scale, zero = self.grid(x)
        whole = _whole(x.float(), scale, zero)
        stride, padding, dilation = (list(self.how[k]) for k in ("stride", "padding", "dilation"))
        groups = self.how["groups"]
        weight = self.packed(
            lambda: torch.ops.onednn.qconv_prepack(
                self.weight, self.scale, 1.0, 0, stride, padding, dilation, groups, list(x.shape)
            )
        )
        zeros = torch.zeros(self.out_channels, dtype=torch.int32)
        found = torch.ops.onednn.qconv_pointwise(
            whole, scale, zero, weight, self.scale, zeros, self.bias,
            stride, padding, dilation, groups, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return found.to(x.dtype)


def _whole(x: Tensor, scale: float, zero: int) -> Tensor:
    """The nearest of 256 steps: what is shifted by a half is cut off."""
    shifted = torch.add(torch.tensor(zero + 0.5), x, alpha=1 / scale).clamp_(0, 255)
    return shifted.to(torch.int32).to(torch.uint8)  # at once it takes twice the time


def blank(layer: nn.Module, reads: Reads) -> Int8Linear | Int8Conv:
    """A layer in 8 bits for a whole one; its weights are undefined. KeyError where it cannot be.

    A table has no range of what it reads: where it multiplies, a static one goes by each row.
    """
    match layer:
        case nn.Linear():
            return Int8Linear(layer, reads)
        case nn.Conv2d() if padding_of(layer) is not None:
            return Int8Conv(layer, reads)
        case nn.Embedding():
            return Int8Linear(layer, "dynamic" if reads == "static" else reads)
        case _:
            raise KeyError(f"no 8 bits for {type(layer).__name__}")
