"""Wrong labels: noise in what is to be learned, planted to see what bears it.

Unlike all other kinds it makes samples false, on purpose: a share of the training samples has
another class than its own, the same one in every epoch and whatever the recipe's seed is. Held-out
samples are never changed. Symmetric label noise: Angluin & Laird, 1988.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.augment.contract import COLUMNS, IMAGES, Augmentation

if TYPE_CHECKING:
    from zafu.augment.runtime.step import Step


@final
class WrongLabels(Augmentation):
    """A share of the training samples under a wrong class."""

    kind: Literal["wrong-labels"] = "wrong-labels"
    probability: float = Field(default=1.0, ge=1, le=1)
    """1, as chance falls on samples, not on epochs: see `share`."""
    share: float = Field(default=0.2, gt=0, le=1)
    """Share of the training samples whose class is wrong, 0 < s <= 1."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of which samples these are, and of their classes."""
    takes: ClassVar[frozenset[str]] = IMAGES | COLUMNS
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    def step(self) -> Step:
        """A function of classes and the samples' ids."""
        from functools import partial

        from zafu.augment.runtime import labels
        from zafu.augment.runtime.step import Whole

        return Whole(partial(labels.wrong, share=self.share, seed=self.seed), draws=0)
