"""Nets: many models of one shape, computed at once from stacked weights.

The perceptron is written out, forward and backward, one batched product a layer: its nets are so
small that what autograd keeps and copies would cost half as much again. Other nets are mapped by
`torch.func` (functorch: Horace He & Richard Zou, 2021). Weights are `(models, *shape)` by names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, final

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from zafu.loop import seed_dropout
from zafu.nets.mlp import ACTIVATIONS, MLP

Weights = Mapping[str, Tensor]
Factors = Iterator[Tensor]  # of dropout, `(models, batch, width)`, layer by layer
Losses = Callable[[Tensor], Tensor]  # from logits to `(models,)`
SLOPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda slope, x: torch.ops.aten.threshold_backward(slope, x, 0),
    "gelu": torch.ops.aten.gelu_backward,
    "silu": torch.ops.aten.silu_backward,
}  # of each activation: from the gradient behind it and its input to the one before it


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

    def learn(
        self, weights: Weights, inputs: Sequence[Tensor], factors: Factors | None, losses: Losses
    ) -> tuple[Tensor, list[Tensor]]:
        """The losses `(models,)`, and the gradients of their sum in the order of the weights."""
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
        self._slope = SLOPES[module.shape.activation]

    def __call__(
        self, weights: Weights, inputs: Sequence[Tensor], factors: Factors | None
    ) -> Tensor:
        """Logits `(models, batch, outputs)`."""
        x = self._entered(weights, inputs)
        for name in self._names:
            x = self._activation(_linear(weights, name, x))
            x = x * next(factors) if factors else x
        return _linear(weights, "head", x)

    def learn(
        self, weights: Weights, inputs: Sequence[Tensor], factors: Factors | None, losses: Losses
    ) -> tuple[Tensor, list[Tensor]]:
        """By hand, from the head to the embeddings."""
        with torch.no_grad():
            x, dropped = self._entered(weights, inputs), list(factors or ())
            read, before = list[Tensor](), list[Tensor]()
            for index, name in enumerate(self._names):
                read.append(x)
                before.append(_linear(weights, name, x))
                x = self._activation(before[-1])
                x = x * dropped[index] if dropped else x
            logits = _linear(weights, "head", x)
        means = losses(logits.requires_grad_())
        (slope,) = torch.autograd.grad(means.sum(), logits)
        found: dict[str, Tensor] = {}
        with torch.no_grad():
            slope = _unlinear(weights, "head", x, slope, found, on=bool(self._names))
            for index in reversed(range(len(self._names))):
                slope = slope * dropped[index] if dropped else slope
                slope = self._slope(slope, before[index])
                on = index > 0 or self._embeddings > 0
                slope = _unlinear(weights, self._names[index], read[index], slope, found, on=on)
            self._left(weights, inputs, slope, found)
        return means.detach(), [found[name] for name in weights]

    @property
    def _names(self) -> list[str]:
        return [f"layers.{index}.linear" for index in range(self.layers)]

    def _entered(self, weights: Weights, inputs: Sequence[Tensor]) -> Tensor:
        """What the first layer reads."""
        parts = [inputs[0].flatten(2)]
        for index in range(self._embeddings):
            table = weights[f"embeddings.{index}.weight"]  # (models, values, dims)
            parts.append(table.gather(1, _rows(inputs, index, table)))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2)

    def _left(
        self,
        weights: Weights,
        inputs: Sequence[Tensor],
        slope: Tensor,
        found: dict[str, Tensor],
    ) -> None:
        """The gradients of the embeddings, from that of what the first layer read."""
        at = inputs[0].flatten(2).shape[2]
        for index in range(self._embeddings):
            table = weights[f"embeddings.{index}.weight"]
            own = slope[:, :, at : at + table.shape[2]]
            rows = _rows(inputs, index, table)
            found[f"embeddings.{index}.weight"] = torch.zeros_like(table).scatter_add_(1, rows, own)
            at += table.shape[2]


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

    def learn(
        self, weights: Weights, inputs: Sequence[Tensor], factors: Factors | None, losses: Losses
    ) -> tuple[Tensor, list[Tensor]]:
        """By autograd; the weights must require gradients."""
        means = losses(self(weights, inputs, factors))
        return means.detach(), list(torch.autograd.grad(means.sum(), list(weights.values())))


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


def _unlinear(
    weights: Weights,
    name: str,
    x: Tensor,
    slope: Tensor,
    found: dict[str, Tensor],
    *,
    on: bool,
) -> Tensor:
    """Notes the gradients of a layer that read `x`; that of `x`, where it goes on."""
    found[f"{name}.weight"] = torch.bmm(slope.transpose(1, 2), x)
    found[f"{name}.bias"] = slope.sum(1)
    return torch.bmm(slope, weights[f"{name}.weight"]) if on else slope


def _rows(inputs: Sequence[Tensor], index: int, table: Tensor) -> Tensor:
    """The rows of a categorical column's table that samples have, `(models, batch, dims)`."""
    return inputs[1][:, :, index, None].expand(-1, -1, table.shape[2])
