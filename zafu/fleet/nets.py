"""Nets: many models of one shape, computed at once from stacked weights.

The perceptron is written out, one batched product a layer; other nets are mapped by `torch.func`
(functorch: Horace He & Richard Zou, 2021). Weights are `(models, *shape)` by their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, final

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from zafu.loop import seed_dropout
from zafu.nets.mlp import ACTIVATIONS, MLP

Weights = Mapping[str, Tensor]
Factors = Iterator[Tensor]  # of dropout, `(models, batch, width)`, layer by layer


class Net(Protocol):
    """Computes many models of one shape."""

    layers: int  # after which there may be dropout
    width: int  # of these

    def __call__(
        self, weights: Weights, inputs: Sequence[Tensor], factors: Factors | None
    ) -> Tensor:
        """Logits `(models, batch, ..., outputs)` for inputs `(models, batch, ...)`.

        `factors` None: without dropout, as in evaluation.
        """
        ...


def stacked(module: nn.Module) -> Net:
    """What computes many models of the shape of this one."""
    return Perceptrons(module) if isinstance(module, MLP) else Mapped(module)


@final
class Perceptrons:
    """Multilayer perceptrons."""

    def __init__(self, module: MLP) -> None:
        self.layers, self.width = module.shape.layers, module.shape.width
        self._embeddings = len(module.embeddings)
        self._activation = ACTIVATIONS[module.shape.activation]

    def __call__(
        self, weights: Weights, inputs: Sequence[Tensor], factors: Factors | None
    ) -> Tensor:
        """Logits `(models, batch, outputs)`."""
        numbers, *categories = inputs
        parts = [numbers.flatten(2)]
        for index in range(self._embeddings):
            table = weights[f"embeddings.{index}.weight"]  # (models, values, dims)
            chosen = categories[0][:, :, index, None].expand(-1, -1, table.shape[2])
            parts.append(table.gather(1, chosen))
        x = parts[0] if len(parts) == 1 else torch.cat(parts, 2)
        for index in range(self.layers):
            x = self._activation(_linear(weights, f"layers.{index}.linear", x))
            x = x * next(factors) if factors else x
        return _linear(weights, "head", x)


@final
class Mapped:
    """Any net without dropout, as a function of its weights."""

    layers, width = 0, 0

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(
        self, weights: Weights, inputs: Sequence[Tensor], factors: Factors | None
    ) -> Tensor:
        """Logits `(models, batch, ..., outputs)`."""

        def one(own: dict[str, Tensor], *given: Tensor) -> Tensor:
            return functional_call(self._module, own, given)

        with sdpa_kernel(SDPBackend.MATH):  # fused attention cannot be mapped
            return vmap(one)(dict(weights), *inputs)


def draw(
    factors: Tensor, shares: Sequence[float], seeds: Sequence[int], rows: Sequence[int]
) -> Factors:
    """Dropout's factors, in place of the ones in `factors` `(layers, models, batch, width)`.

    Each model has its own share and, for its first `rows` samples, the very numbers that it would
    draw alone from its seed.
    """
    for model, (share, seed) in enumerate(zip(shares, seeds, strict=True)):
        if share:
            seed_dropout(seed, factors.device)
            for layer in factors:
                layer[model, : rows[model]].bernoulli_(1 - share).div_(1 - share)
    return iter(factors.unbind(0))


def _linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))
