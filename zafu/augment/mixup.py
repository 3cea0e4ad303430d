"""MixUp: a sample and another one of the split in random shares, their targets in the same.

Zhang et al., 2017 (arXiv:1710.09412). The partner is drawn from the whole split by the sample's
key, where others take a neighbour in the batch: micro-batches and ranks change nothing, and each
sample costs a second one to read. Classes become probabilities; numbers are mixed; of categories
in a table those of the larger share stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.augment.contract import COLUMNS, IMAGES, Augmentation

if TYPE_CHECKING:
    from zafu.augment.runtime.step import Step


@final
class MixUp(Augmentation):
    """Convex sums of two samples and of their targets."""

    kind: Literal["mixup"] = "mixup"
    ranges: ClassVar[dict[str, str]] = {"alpha": "log:0.1:4"}
    alpha: float = Field(default=0.2, ge=0.05, le=32)
    """Strength, 0.05 to 32: a share is drawn from Beta(alpha, alpha); 1 is uniform."""
    takes: ClassVar[frozenset[str]] = IMAGES | COLUMNS
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    differentiable: ClassVar[tuple[str, ...]] = ("alpha",)

    def step(self) -> Step:
        """A function of samples and partners."""
        from zafu.augment.runtime import mixing
        from zafu.augment.runtime.step import Whole

        return Whole(mixing.mixup, draws=2, magnitudes={"alpha": self.alpha})
