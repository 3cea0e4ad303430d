"""A multilayer perceptron for rows of a table, or for small pictures read as one row.

Rumelhart, Hinton & Williams, 1986. Categories enter through embeddings: Guo & Berkhahn, 2016
(arXiv:1604.06737). Weights start as in He et al., 2015 (arXiv:1502.01852).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from zafu.nets.depth import Parts, run
from zafu.nets.units import Slice, Units, units
from zafu.nets.width import Plan, Style

ACTIVATIONS = {"relu": functional.relu, "gelu": functional.gelu, "silu": functional.silu}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a perceptron; with 0 layers it is a linear model."""

    numbers: int
    embeddings: tuple[tuple[int, int], ...]  # (values, dims) of each categorical column
    width: int
    layers: int
    outputs: int
    activation: Literal["relu", "gelu", "silu"] = "relu"
    dropout: float = 0.0


class Layer(nn.Module):
    """Linear, activation, dropout."""

    def __init__(self, inputs: int, shape: Shape) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, shape.width)
        self.activation, self.dropout = ACTIVATIONS[shape.activation], shape.dropout

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, inputs)` to `(batch, width)`."""
        return functional.dropout(self.activation(self.linear(x)), self.dropout, self.training)


class MLP(nn.Module):
    """A row to the logits of its classes, or to the numbers that are predicted."""

    recompute: bool = False  # True: layers run again in backward, to store fewer activations

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings = nn.ModuleList(nn.Embedding(*sizes) for sizes in shape.embeddings)
        inputs = shape.numbers + sum(dims for _, dims in shape.embeddings)
        sizes = [inputs] + [shape.width] * shape.layers
        self.layers = nn.ModuleList(Layer(size, shape) for size in sizes[:-1])
        self.head = nn.Linear(sizes[-1], shape.outputs)
        self.initialize()

    def initialize(self) -> None:
        """Draw all weights anew, in place: Kaiming normal; embeddings like normalized numbers."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                last = module is self.head
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if last else "relu")
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight)

    def forward(self, numbers: Tensor, categories: Tensor | None = None) -> Tensor:
        """Logits `(batch, outputs)` for floats `(batch, ...)` and indices `(batch, columns)`."""
        return self.leave(self.along(self.enter(numbers, categories)))

    def enter(self, numbers: Tensor, categories: Tensor | None = None) -> Tensor:
        """What the first layer reads: `(batch, numbers + dims of all embeddings)`."""
        parts = [numbers.flatten(1)]
        if categories is not None:
            parts += [embed(categories[:, i]) for i, embed in enumerate(self.embeddings)]
        return torch.cat(parts, 1)

    def along(self, x: Tensor) -> Tensor:
        """The features after the layers that are here."""
        for layer in self.layers:
            x = run(layer, x, recompute=self.recompute)
        return x

    def leave(self, x: Tensor) -> Tensor:
        """Logits `(batch, outputs)` from the features after the last layer."""
        return self.head(x)

    def tensor_plan(self) -> Plan:
        """Layers in pairs, with one sum for each; of an odd last one the outputs are gathered."""
        count = len(self.layers)
        kinds: tuple[Style, Style] = ("column", "row")
        styles: dict[str, Style] = {f"layers.{i}.linear": kinds[i % 2] for i in range(count)}
        if count % 2:
            styles[f"layers.{count - 1}.linear"] = "gather"
        styles |= {f"embeddings.{i}": "whole" for i in range(len(self.embeddings))}
        styles["head"] = "whole"
        return Plan(styles)

    def units(self) -> list[Units]:
        """The neurons of each layer."""
        names = [f"layers.{i}.linear" for i in range(len(self.layers))]
        found: list[Units] = []
        for name, reader in zip(names, [*names[1:], "head"], strict=True):
            writers = [Slice(f"{name}.weight", 0), Slice(f"{name}.bias", 0)]
            found.append(units(name, "hidden", writers, [Slice(f"{reader}.weight", 1)], self))
        return found

    def parts(self) -> Parts:
        """Where the net may be cut."""
        return Parts("layers", ("embeddings",), ("head",))
