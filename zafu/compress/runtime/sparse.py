"""Which single weights go, and how those that stay make good for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zafu.compress.contract import Work
from zafu.compress.runtime.calibration import Gram, in_turn, matrix
from zafu.compress.runtime.compensate import compensated
from zafu.edits.contract import Edit
from zafu.edits.sparse import Sparse as Edited
from zafu.errors import Refused
from zafu.nets.matrices import Matrix, chosen, fits
from zafu.nets.sparse import sparse, thin, whole
from zafu.nets.surgery import put

if TYPE_CHECKING:
    from zafu.compress.sparsify import Sparsify


def sparsify(spec: Sparsify, work: Work) -> Iterable[Edit]:
    """Put sparse layers in place; how many weights each has left. They may be sparse already."""
    before = {n: s for n, s in thin(work.model).items() if fits(n, spec.layers, spec.skip)}
    if not before and not chosen(work.model, spec.layers, spec.skip):
        raise Refused("sparsify: no linear layer or convolution of these names")
    if not spec.amount:
        return ()
    for name, layer in before.items():
        put(work.model, name, whole(layer))
    layers = chosen(work.model, spec.layers, spec.skip)
    if spec.pattern == "2:4":
        for name, layer in layers.items():
            if matrix(layer).shape[1] % 4:
                found = f"{name} reads {matrix(layer).shape[1]}"
                raise Refused(f"sparsify: expected a multiple of 4 inputs for 2:4, {found}")
    if spec.score in ("sparsegpt", "wanda"):
        for seen in in_turn(work.model, work.batches, layers):
            for name, gram in seen.items():
                _thin(spec, layers[name], gram)
    else:
        _by_value(spec, work, layers)
    counts = dict[str, int]()
    for name, layer in layers.items():
        made = sparse(layer)
        put(work.model, name, made)
        counts[name] = len(made.values)
    total = sum(layer.weight.numel() for layer in layers.values())
    work.note(
        f"sparsify: {sum(counts.values())} of {total} weights are left in {len(counts)} layers"
    )
    return (Edited(counts=counts),)


def _thin(spec: Sparsify, layer: Matrix, gram: Gram) -> None:
    """In place: set a share of each row to 0, by what the layer reads."""
    weight, mean = matrix(layer), gram.mean
    if spec.score == "wanda":
        size = mean.diagonal().sqrt().to(weight.dtype)
        weight.mul_(_stays(spec, weight.abs() * size))
        return
    gone = torch.zeros_like(weight, dtype=torch.bool)

    def begin(start: int, block: Tensor, root: Tensor) -> None:
        saliency = block.square() / root.square()
        gone[:, start : start + block.shape[1]] = ~_stays(spec, saliency, rows=False)

    def change(at: int, column: Tensor) -> Tensor:
        return column.masked_fill(gone[:, at], 0.0)

    weight.copy_(compensated(weight, mean, change, begin=begin))


def _stays(spec: Sparsify, scores: Tensor, *, rows: bool = True) -> Tensor:
    """Which of the weights with these scores stay: the same share of each row, or of all."""
    if spec.pattern == "2:4":
        fours = scores.unflatten(1, (-1, 4))
        top = torch.zeros_like(fours, dtype=torch.bool)
        return top.scatter_(2, fours.topk(2, dim=2).indices, value=True).flatten(1)
    flat = scores if rows else scores.reshape(1, -1)
    count = flat.shape[1] - round(spec.amount * flat.shape[1])
    top = torch.zeros_like(flat, dtype=torch.bool)
    return top.scatter_(1, flat.topk(count, dim=1).indices, value=True).view_as(scores)


def _by_value(spec: Sparsify, work: Work, layers: dict[str, Matrix]) -> None:
    """In place: by the size of weights, or at random, to compare with."""
    random = torch.Generator().manual_seed(work.seed)

    def scored(layer: nn.Module) -> Tensor:
        weight = matrix(layer)  # pyright: ignore[reportArgumentType]
        if spec.score == "random":
            return torch.rand(weight.shape, generator=random)
        return weight.abs()

    if spec.scope == "model":
        every = torch.cat([scored(layer).flatten() for layer in layers.values()])
        least = every.kthvalue(max(1, round(spec.amount * len(every)))).values
        for layer in layers.values():
            weight = matrix(layer)
            weight.mul_(weight.abs() > least)
        return
    for layer in layers.values():
        weight = matrix(layer)
        weight.mul_(_stays(spec, scored(layer), rows=spec.pattern == "2:4"))
