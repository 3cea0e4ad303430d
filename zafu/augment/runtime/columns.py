"""Noise on the rows of a table."""

from __future__ import annotations

from torch import Tensor

from zafu.augment.runtime import mixing
from zafu.augment.runtime.draws import chance, normal, threshold
from zafu.augment.runtime.step import Draw, Scene
from zafu.batch import Batch

MOST = 4096  # rows that are looked at to tell flags from quantities


def column_noise(batch: Batch, draw: Draw, scene: Scene) -> Batch:
    """A normal number added to each quantity; flags (columns of 0 and 1) stay."""
    numbers, *others = batch.inputs
    flags = scene.flags.to(numbers.device)
    added = normal(draw.keys, numbers.shape[1], numbers) * draw.magnitudes["std"]
    silent = flags if draw.on is None else flags | ~draw.on.to(numbers.device)[:, None]
    return batch._replace(inputs=(numbers + added.masked_fill(silent, 0), *others))


def column_swap(batch: Batch, draw: Draw, scene: Scene, *, share: float) -> Batch:
    """About `share` of a row's entries are those of another row, each in its column."""
    device = batch.targets.device
    widths = [x.shape[1] for x in batch.inputs]
    chosen = chance(draw.keys, sum(widths), device) < threshold(share)
    if draw.on is not None:
        chosen = chosen & draw.on.to(device)[:, None]
    return mixing.column_swap(batch, draw, scene, chosen=chosen.split(widths, 1))


def flags(numbers: Tensor) -> Tensor:
    """Which columns of `(rows, columns)` hold nothing but 0 and 1, such as "was missing"."""
    return ((numbers == 0) | (numbers == 1)).all(0)
