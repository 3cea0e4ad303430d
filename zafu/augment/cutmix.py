"""CutMix: a random rectangle of another picture; targets in the shares of the areas shown.

Yun et al., 2019 (arXiv:1905.04899). The partner is drawn from the whole split by the sample's key,
where others take a neighbour in the batch. The share is that of the pixels really shown, after the
rectangle was cut at the edges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.augment.contract import IMAGES, Augmentation

if TYPE_CHECKING:
    from zafu.augment.runtime.step import Step


@final
class CutMix(Augmentation):
    """A rectangle of a partner in a picture, targets mixed by area."""

    kind: Literal["cutmix"] = "cutmix"
    ranges: ClassVar[dict[str, str]] = {"alpha": "log:0.1:4"}
    alpha: float = Field(default=1.0, ge=0.05, le=32)
    """Strength, 0.05 to 32: the area kept is drawn from Beta(alpha, alpha); 1 is uniform."""
    takes: ClassVar[frozenset[str]] = IMAGES
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})

    def step(self) -> Step:
        """A function of samples and partners."""
        from zafu.augment.runtime import mixing
        from zafu.augment.runtime.step import Whole

        return Whole(mixing.cutmix, draws=4, magnitudes={"alpha": self.alpha})
