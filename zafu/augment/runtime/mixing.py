"""Samples mixed with a partner drawn from the whole split, and their targets with them.

A partner is a function of the sample's key, not a neighbour in the batch. It is read and brought
through the same earlier steps in the same epoch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zafu.augment.runtime.beta import symmetric_beta
from zafu.augment.runtime.step import Draw, Scene
from zafu.batch import Batch


def mixup(batch: Batch, draw: Draw, scene: Scene) -> Batch:
    """Share * sample + (1 - share) * partner in inputs and targets, share from Beta(alpha, alpha).

    Categories are those of the larger share.
    """
    share = symmetric_beta(draw.uniform[0], draw.magnitudes["alpha"])
    share, partner = _shares(draw, share), _partners(batch, draw, scene, row=1)
    inputs = tuple(_blend(*pair, share) for pair in zip(batch.inputs, partner.inputs, strict=True))
    return batch._replace(inputs=inputs, targets=_targets(batch, partner, share, scene))


def cutmix(batch: Batch, draw: Draw, scene: Scene) -> Batch:
    """A rectangle of the partner in the sample's place; targets mixed by the areas shown."""
    (pictures,) = batch.inputs
    _, _, height, width = pictures.shape
    drawn = symmetric_beta(draw.uniform[0], draw.magnitudes["alpha"])
    side = (1 - drawn).sqrt()
    lines, shown_y = _band(draw.uniform[2], side, height)
    columns, shown_x = _band(draw.uniform[3], side, width)
    share = _shares(draw, 1 - shown_y * shown_x / (height * width))
    partner = _partners(batch, draw, scene, row=1)
    inside = lines[:, :, None] & columns[:, None, :]
    inside = inside if draw.on is None else inside & draw.on[:, None, None]
    (others,) = partner.inputs
    mixed = torch.where(inside.to(pictures.device)[:, None], others, pictures)
    return batch._replace(inputs=(mixed,), targets=_targets(batch, partner, share, scene))


def column_swap(batch: Batch, draw: Draw, scene: Scene, *, chosen: Sequence[Tensor]) -> Batch:
    """The chosen entries `(batch, columns)` bool of each input are those of the partner."""
    partner = _partners(batch, draw, scene, row=0)
    triples = zip(chosen, batch.inputs, partner.inputs, strict=True)
    return batch._replace(inputs=tuple(torch.where(c, other, x) for c, x, other in triples))


def probabilities(targets: Tensor, outputs: int) -> Tensor:
    """Classes `(batch,)` as probabilities `(batch, outputs)` float32; others as they are."""
    if targets.is_floating_point():
        return targets
    return functional.one_hot(targets, outputs).float()


def _partners(batch: Batch, draw: Draw, scene: Scene, *, row: int) -> Batch:
    """The partner of each sample; where the step does not fall, the sample itself."""
    ids = (draw.uniform[row] * scene.n).long().numpy()
    device = batch.targets.device
    if draw.on is None:
        return scene.partner(ids, scene.epochs, device)
    on = np.flatnonzero(draw.on.numpy())
    if not len(on):
        return batch
    some = scene.partner(ids[on], scene.epochs[on], device)
    place = torch.from_numpy(on).to(device)
    inputs = zip(batch.inputs, some.inputs, strict=True)
    return Batch(
        tuple(own.index_copy(0, place, other) for own, other in inputs),
        batch.targets.index_copy(0, place, some.targets),
        batch.ids,
    )


def _shares(draw: Draw, share: Tensor) -> Tensor:
    """The sample's share, 1 where the step does not fall; `(batch,)` float64."""
    return share if draw.on is None else torch.where(draw.on, share, 1.0)


def _blend(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    if one.dtype == torch.int64:  # categories
        keep = (share >= 0.5).to(one.device).view(-1, *[1] * (one.ndim - 1))
        return torch.where(keep, one, other)
    one, other = (x if x.is_floating_point() else x.float() for x in (one, other))
    weight = share.to(one).view(-1, *[1] * (one.ndim - 1))
    return one * weight + other * (1 - weight)


def _targets(batch: Batch, partner: Batch, share: Tensor, scene: Scene) -> Tensor:
    own, others = (probabilities(x.targets, scene.outputs) for x in (batch, partner))
    return _blend(own, others, share)


def _band(center: Tensor, share: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Which places of a side a band covers, `(batch, side)` bool, and how many, `(batch,)`.

    The band is `share` of the side about a center anywhere on it; what is beyond is cut.
    """
    half = (share * side / 2).floor()
    middle = (center * side).floor()
    first, last = (middle - half).clamp(min=0), (middle + half).clamp(max=side)
    at = torch.arange(side)
    return (at >= first[:, None]) & (at < last[:, None]), last - first
