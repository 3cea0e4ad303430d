"""Low-rank adapters: a frozen matrix and a thin one that learns.

LoRA, Hu et al., 2021 (arXiv:2106.09685): y = W x + (alpha / rank) B A x. B starts at 0, so that a
model with fresh adapters answers as the one without.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu.nets.surgery import call


class Adapted(nn.Linear):
    """A linear layer that moves by its adapters alone."""

    lora_a: nn.Parameter  # (rank, inputs)
    lora_b: nn.Parameter  # (outputs, rank)
    factor: float  # alpha / rank

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """`(..., inputs)` to `(..., outputs)`."""
        moved = functional.linear(functional.linear(x, self.lora_a), self.lora_b)
        return torch.add(functional.linear(x, self.weight, self.bias), moved, alpha=self.factor)

    def merged(self) -> Tensor:
        """The matrix with what its adapters have learned."""
        return self.weight + self.factor * (self.lora_b @ self.lora_a)


def adapt(root: nn.Module, layers: tuple[str, ...], rank: int, alpha: float) -> None:
    """In place: fresh adapters for these linear layers; all else of the model is frozen."""
    root.requires_grad_(False)
    for name in layers:
        layer = root.get_submodule(name)
        if not isinstance(layer, nn.Linear):
            raise KeyError(f"{name} is no linear layer")
        first = torch.empty(rank, layer.in_features, device=layer.weight.device)
        nn.init.kaiming_uniform_(first, a=math.sqrt(5))
        layer.__class__ = Adapted
        made = cast("Adapted", layer)
        made.lora_a = nn.Parameter(first)
        made.lora_b = nn.Parameter(layer.weight.new_zeros(layer.out_features, rank))
        made.factor = alpha / rank
        call(root, name)


def merge(root: nn.Module) -> list[str]:
    """In place: plain layers with what adapters have learned; their names."""
    found = list[str]()
    for name, layer in root.named_modules():
        if isinstance(layer, Adapted):
            weight = layer.merged().detach()
            del layer.lora_a, layer.lora_b
            layer.__class__ = nn.Linear  # pyright: ignore[reportAttributeAccessIssue]
            layer.weight = nn.Parameter(weight)
            found.append(name)
    root.requires_grad_(True)
    return found
