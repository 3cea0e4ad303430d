"""Pruning of units: which go, and how the layers behind them make good for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zafu.compress.contract import Work
from zafu.compress.runtime.calibration import Gram, grams, matrix
from zafu.compress.runtime.places import tracked
from zafu.compress.runtime.scores import SCORES
from zafu.edits.contract import Edit
from zafu.edits.shapes import Shapes
from zafu.errors import Refused
from zafu.nets.matrices import matrices
from zafu.nets.surgery import tensor_of
from zafu.nets.units import Prunable, Units, cut, gone

if TYPE_CHECKING:
    from zafu.compress.prune import Prune

RIDGE = 1e-2  # of the mean of the diagonal: samples are few


def prune(spec: Prune, work: Work) -> Iterable[Edit]:
    """Take units out in place; the shapes of what is left, none where nothing goes."""
    places = [units for units in found(work) if units.what in spec.what]
    if not places:
        names = type(work.model).__name__, ", ".join(spec.what)
        raise Refused(f"prune: expected a model that has units of a kind asked for, found {names}")
    if not spec.amount:
        return ()
    scores = SCORES[spec.score](work, places)
    kept = _kept(spec, work.model, places, scores)
    before = _shapes(work.model)
    if spec.repair:
        _repair(work, places, kept)
    cut(work.model, zip(places, kept, strict=True))
    changed = {n: s for n, s in _shapes(work.model).items() if s != before[n]}
    count = sum(units.many - len(left) for units, left in zip(places, kept, strict=True))
    work.note(f"prune: {count} of {sum(units.many for units in places)} units went")
    return (Shapes(shapes=changed),) if changed else ()


def found(work: Work) -> list[Units]:
    """The units of a model, as it lists them or as they show in what it computes."""
    root = work.model
    return root.units() if isinstance(root, Prunable) else tracked(work)


def _kept(
    spec: Prune, root: nn.Module, places: Sequence[Units], scores: Sequence[Tensor]
) -> list[Tensor]:
    """The numbers of the units that stay, ascending, at each place."""
    if spec.scope == "place":
        shares = [1 - spec.amount] * len(places)
    else:
        shares = _shares(spec.amount, root, places, scores)
    return [
        _best(units, score, _count(units, share, 1 if units.what == "heads" else spec.multiple))
        for units, score, share in zip(places, scores, shares, strict=True)
    ]


def _shares(
    amount: float, root: nn.Module, places: Sequence[Units], scores: Sequence[Tensor]
) -> list[float]:
    """What stays at each place, where the units that give least for their weights go."""
    weights = [_weights(root, units) for units in places]
    gain = torch.cat([score / w for score, w in zip(scores, weights, strict=True)])
    cost = torch.cat(
        [torch.full((units.many,), w) for units, w in zip(places, weights, strict=True)]
    )
    order = gain.argsort()
    gone = cost[order].cumsum(0) <= amount * float(cost.sum())
    stays = torch.ones(len(gain), dtype=torch.bool)
    stays[order[gone]] = False
    return [float(own.double().mean()) for own in stays.split([u.many for u in places])]


def _weights(root: nn.Module, units: Units) -> float:
    """Numbers that go with one unit."""
    total = 0.0
    for of in units.slices:
        tensor = tensor_of(root, of.parameter)
        total += tensor.numel() / tensor.shape[of.dim] * of.places(units.many).shape[1]
    return total


def _count(units: Units, share: float, multiple: int) -> int:
    """How many of the units stay in each of their groups: one at least."""
    per = units.many // units.groups
    step = math.lcm(multiple, units.groups) // units.groups
    wanted = share * per
    if wanted >= step:
        return min(per, max(1, round(wanted / step) * step))
    return min(per, max(1, round(wanted)))


def _best(units: Units, scores: Tensor, count: int) -> Tensor:
    per = units.many // units.groups
    top = scores.view(units.groups, per).topk(count, dim=1).indices.sort(1).values
    return (top + torch.arange(units.groups)[:, None] * per).flatten()


def _repair(work: Work, places: Sequence[Units], kept: Sequence[Tensor]) -> None:
    """In place: let readers make of the units that stay what they made of all, by least squares."""
    layers, stays = matrices(work.model), dict[str, Tensor]()
    for units, left in zip(places, kept, strict=True):
        for of in units.readers if len(left) < units.many else ():
            name = of.parameter.rpartition(".")[0]
            if name in layers and of.dim == 1:
                size = layers[name].weight.shape[1]
                mask = stays.setdefault(name, torch.ones(size, dtype=torch.bool))
                mask[gone(of, units, left)] = False
    seen = grams(work.model, work.batches, {name: layers[name] for name in stays})
    for name, mask in stays.items():
        _fit(layers[name], seen[name], mask)


def _fit(layer: nn.Linear | nn.Conv2d, gram: Gram, stays: Tensor) -> None:
    weight = matrix(layer)
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        return
    patch = weight.shape[1] // layer.weight.shape[1]
    columns = stays.repeat_interleave(patch).nonzero().flatten()
    total = gram.mean
    inside = total[columns][:, columns]
    inside = inside + RIDGE * inside.diagonal().mean() * torch.eye(len(columns), dtype=total.dtype)
    across = total[:, columns]
    # argmin |W' x_kept - W x| with a pull to the weights as they are
    pull = RIDGE * total.diagonal()[columns].mean() * weight[:, columns].double()
    fitted = torch.linalg.solve(inside, (weight.double() @ across + pull).T).T
    weight[:, columns] = fitted.to(weight.dtype)


def _shapes(root: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(t.shape) for name, t in (*root.named_parameters(), *root.named_buffers())}
