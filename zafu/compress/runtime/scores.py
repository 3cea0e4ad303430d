"""Scores: how much a model would lose without each of its units.

- taylor: the squared derivative of the loss by a gate on the unit, Molchanov et al., 2019
  (arXiv:1906.10771), by calibration batch.
- activation: the size of what is read of a unit times the size of the weights that read it, as Sun
  et al., 2023 (arXiv:2306.11695) have it for single weights.
- magnitude: the squared norm of all weights of a unit, Li et al., 2017 (arXiv:1608.08710).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from zafu.compress.contract import Work
from zafu.compress.runtime.calibration import reading
from zafu.nets.surgery import tensor_of
from zafu.nets.units import Slice, Units


def taylor(work: Work, places: Sequence[Units]) -> list[Tensor]:
    """By place, `(units,)`."""
    found = [torch.zeros(units.many, dtype=torch.float64) for units in places]
    for batch in work.batches:
        work.model.zero_grad(set_to_none=True)
        (work.loss(work.model, batch) / len(batch.targets)).backward()
        for units, total in zip(places, found, strict=True):
            gates = [_gate(work.model, of, units.many) for of in units.readers]
            total.add_(torch.stack(gates).sum(0).square())
    work.model.zero_grad(set_to_none=True)
    return found


def activation(work: Work, places: Sequence[Units]) -> list[Tensor]:
    """By place, `(units,)`."""
    layers = {
        of.parameter: work.model.get_submodule(of.parameter.rpartition(".")[0])
        for units in places
        for of in units.readers
    }
    sizes = dict[int, Tensor]()

    def see(layer: nn.Module, x: Tensor) -> None:
        dim = 1 if isinstance(layer, nn.Conv2d) else x.dim() - 1
        own = x.double().square().sum([d for d in range(x.dim()) if d != dim])
        sizes[id(layer)] = sizes.get(id(layer), torch.zeros_like(own)) + own

    with torch.no_grad(), reading(layers.values(), see):
        for batch in work.batches:
            work.model(*batch.inputs)
    found = list[Tensor]()
    for units in places:
        total = torch.zeros(units.many, dtype=torch.float64)
        for of in units.readers:
            weight = work.model.get_parameter(of.parameter).detach().double()
            weight = _by_unit(weight, of, units.many)
            read = sizes[id(layers[of.parameter])][of.places(units.many)].sum(1)
            total += (read * weight.square().sum(1)).sqrt()
        found.append(total)
    return found


def magnitude(work: Work, places: Sequence[Units]) -> list[Tensor]:
    """By place, `(units,)`."""
    return [
        sum(
            (
                _by_unit(tensor.detach().double(), of, units.many).square().sum(1)
                for of in units.slices
                if isinstance(tensor := tensor_of(work.model, of.parameter), nn.Parameter)
            ),
            start=torch.zeros(units.many, dtype=torch.float64),
        )
        for units in places
    ]


def drawn(work: Work, places: Sequence[Units]) -> list[Tensor]:
    """By place, `(units,)`: random numbers of the seed, to compare with."""
    random = torch.Generator().manual_seed(work.seed)
    return [torch.rand(units.many, generator=random, dtype=torch.float64) for units in places]


SCORES: dict[str, Callable[[Work, Sequence[Units]], list[Tensor]]] = {
    "taylor": taylor,
    "activation": activation,
    "magnitude": magnitude,
    "random": drawn,
}


def _gate(root: nn.Module, of: Slice, many: int) -> Tensor:
    """The derivative of the loss by a factor on each unit, where a layer reads it."""
    weight = root.get_parameter(of.parameter)
    if weight.grad is None:
        return torch.zeros(many, dtype=torch.float64)
    return _by_unit((weight * weight.grad).detach().double(), of, many).sum(1)


def _by_unit(weight: Tensor, of: Slice, many: int) -> Tensor:
    """`(units, numbers of each)`."""
    return weight.movedim(of.dim, 0)[of.places(many)].flatten(1)
