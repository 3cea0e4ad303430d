"""The contract of augmentation: samples change anew in each epoch, as a function of a key.

A sample's key follows from (seed, epoch, sample id) alone, so that the result does not depend on
how samples are batched, in which order, by how many workers or on how many ranks.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from zafu.hashing import key, mix
from zafu.spec import Family


class Augmentation(Family):
    """A random change of training samples that leaves what is to be learned of them true."""

    kind: str
    takes: ClassVar[frozenset[str]]  # kinds of input that it can change: pixels, tokens, columns


def keys(seed: int, ids: np.ndarray, epochs: np.ndarray) -> np.ndarray:
    """A 64-bit key for each sample in each epoch, `(batch,)` uint64."""
    epoch = mix(key(seed) ^ epochs.astype(np.uint64))
    return mix(epoch ^ ids.astype(np.uint64))
