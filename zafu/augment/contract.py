"""The contract of augmentation: samples change anew in each epoch, as a function of a key.

A sample's key follows from (seed, epoch, sample id) alone, so that the result does not depend on
how samples are batched, in which order, by how many workers or on how many ranks. A kind is a
checked description; what it does is plain torch code in `zafu.augment.runtime`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from zafu.hashing import key, mix
from zafu.spec import Family

if TYPE_CHECKING:
    from zafu.augment.runtime.step import Step

Fill = Literal["zeros", "border", "reflection"]  # what a picture shows where it had no pixels
IMAGES = frozenset({"pixels"})
TOKENS = frozenset({"tokens"})
COLUMNS = frozenset({"columns"})


class Augmentation(Family):
    """A random change of training samples that leaves what is to be learned of them true."""

    kind: str
    probability: float = Field(default=1.0, gt=0, le=1)
    """Share of the samples that it falls on, 0 < p <= 1, drawn anew for each sample and epoch."""
    takes: ClassVar[frozenset[str]]  # kinds of input that it can change: pixels, tokens, columns
    tasks: ClassVar[frozenset[str] | None] = None  # kinds of task that it suits; None: all
    colors: ClassVar[bool] = False  # whether it means nothing to pictures of one channel
    differentiable: ClassVar[tuple[str, ...]] = ()  # the fields that gradients reach, if any

    @abstractmethod
    def step(self) -> Step:
        """What it does to a batch, its settings bound."""


def keys(seed: int, ids: np.ndarray, epochs: np.ndarray) -> np.ndarray:
    """A 64-bit key for each sample in each epoch, `(batch,)` uint64."""
    epoch = mix(key(seed) ^ epochs.astype(np.uint64))
    return mix(epoch ^ ids.astype(np.uint64))
