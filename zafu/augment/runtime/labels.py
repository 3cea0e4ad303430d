"""Labels that are wrong on purpose, as a function of the sample alone."""

from __future__ import annotations

import numpy as np
import torch

from zafu.augment.runtime.step import Draw, Scene
from zafu.batch import Batch
from zafu.errors import Refused
from zafu.hashing import key, mix


def wrong(batch: Batch, draw: Draw, scene: Scene, *, share: float, seed: int) -> Batch:
    """A share of the samples gets one of the other classes, all equally likely."""
    if batch.targets.is_floating_point():
        raise Refused("wrong-labels: expected classes, found mixed ones; put it before what mixes")
    found, classes = planted(batch.ids, share=share, seed=seed), scene.outputs
    if classes < 2:
        return batch
    drawn = mix(mix(key(seed, 1) ^ batch.ids.astype(np.uint64)))
    move = 1 + (drawn % np.uint64(classes - 1)).astype(np.int64)
    moved = torch.from_numpy(np.where(found, move, 0)).to(batch.targets.device)
    return batch._replace(targets=(batch.targets + moved) % classes)


def planted(ids: np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """Whether each of these samples `(n,)` is one whose label is wrong."""
    return mix(key(seed) ^ ids.astype(np.uint64)) / 2.0**64 < share
