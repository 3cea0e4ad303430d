"""Sparse layers: most weights are 0 and stay so; on disk a bit says which, and the others stand.

In memory the matrix is whole, and computes as any other.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Sparse(nn.Module):
    """A linear layer or a convolution of which single weights are gone.

    Its state is `values` (those that are left, in order) and `mask` (a bit a weight, eight in a
    byte, the first the lowest), beside the bias.
    """

    mask: Tensor

    def __init__(self, like: nn.Linear | nn.Conv2d | Sparse, count: int) -> None:
        super().__init__()
        if isinstance(like, Sparse):
            self.shape, self.conv, own = like.shape, like.conv, like.values
        else:
            self.shape, own = tuple(like.weight.shape), like.weight
            self.conv = None if isinstance(like, nn.Linear) else _how(like)
        self.values = nn.Parameter(torch.zeros(count, dtype=own.dtype, device=own.device))
        size = -(-math.prod(self.shape) // 8)
        bits = torch.zeros(size, dtype=torch.uint8, device=own.device)
        self.register_buffer("mask", bits)
        self.bias = None if like.bias is None else nn.Parameter(like.bias.detach().clone())
        self._whole: tuple[tuple[int, int, int], Tensor] | None = None  # by the versions it is of
        self._where: tuple[int, Tensor] | None = None  # the mask's version, and the places it says

    @property
    def out_features(self) -> int:
        """Numbers that a linear layer makes; channels of a convolution."""
        return self.shape[0]

    @property
    def in_features(self) -> int:
        """Numbers that a linear layer reads."""
        return math.prod(self.shape[1:])

    def train(self, mode: bool = True) -> Sparse:
        """As any module; fused optimizers don't tell a tensor that they have changed it."""
        self._whole = None
        return super().train(mode)

    @property
    def weight(self) -> Tensor:
        """The matrix with its zeros; gradients reach the values that are left."""
        if torch.is_grad_enabled():
            return self._spread()
        version = self.values._version, self.mask._version, self.values.data_ptr()
        if self._whole is None or self._whole[0] != version:
            with torch.inference_mode(False), torch.no_grad():
                self._whole = version, self._spread()
        return self._whole[1]

    def _spread(self) -> Tensor:
        whole = self.values.new_zeros(self.shape).flatten()
        return whole.index_put((self.places(),), self.values).view(self.shape)

    def places(self) -> Tensor:
        """Where in the flat matrix the values stand."""
        version = self.mask._version
        if self._where is None or self._where[0] != version:
            with torch.inference_mode(False):  # what is kept must do in training as well
                self._where = version, unpacked(self.mask, math.prod(self.shape))
        return self._where[1]

    def forward(self, x: Tensor) -> Tensor:
        """As the whole layer."""
        if self.conv is None:
            return functional.linear(x, self.weight, self.bias)
        return functional.conv2d(x, self.weight, self.bias, **self.conv)


def packed(stays: Tensor) -> Tensor:
    """Booleans, flat, as bits of bytes."""
    flat = stays.flatten().to(torch.uint8)
    padded = functional.pad(flat, (0, -len(flat) % 8)).view(-1, 8)
    powers = 2 ** torch.arange(8, device=flat.device)
    return (padded * powers).sum(1).to(torch.uint8)


def unpacked(mask: Tensor, count: int) -> Tensor:
    """The places of the bits that are set, ascending, among the first `count`."""
    bits = (mask[:, None] >> torch.arange(8, device=mask.device)) & 1
    return bits.flatten()[:count].nonzero().flatten()


def sparse(layer: nn.Linear | nn.Conv2d) -> Sparse:
    """A layer with the weights that are not 0 of another."""
    stays = layer.weight.detach() != 0
    made = Sparse(layer, int(stays.sum()))
    with torch.no_grad():
        made.values.copy_(layer.weight[stays])
        made.mask.copy_(packed(stays))
    return made.train(layer.training)


def thin(root: nn.Module) -> dict[str, Sparse]:
    """The sparse layers of a model by name."""
    return {name: layer for name, layer in root.named_modules() if isinstance(layer, Sparse)}


def whole(layer: Sparse) -> nn.Linear | nn.Conv2d:
    """A layer with the same weights, all of which it has."""
    outputs, inputs, *kernel = layer.shape
    bias, how = layer.bias is not None, layer.conv
    if how is None:
        made: nn.Linear | nn.Conv2d = nn.Linear(inputs, outputs, bias=bias)
    else:
        made = nn.Conv2d(inputs * how["groups"], outputs, (kernel[0], kernel[1]), bias=bias, **how)
    made.to(layer.values.device, layer.values.dtype)
    with torch.no_grad():
        made.weight.copy_(layer.weight)
        if made.bias is not None and layer.bias is not None:
            made.bias.copy_(layer.bias)
    return made.train(layer.training)


def _how(layer: nn.Conv2d) -> dict[str, Any]:
    return {
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "groups": layer.groups,
    }
