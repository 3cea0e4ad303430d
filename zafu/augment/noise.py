"""Noise: a normal number of its own added to each value of a picture.

Sietsma & Dow, 1991 ("Creating artificial neural networks that generalize"); Lopes et al., 2019
(arXiv:1906.02611). The numbers are a function of the sample's key, the same in any batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.augment.contract import IMAGES, Augmentation

if TYPE_CHECKING:
    from zafu.augment.runtime.step import Step


@final
class Noise(Augmentation):
    """Gaussian noise on each value, cut to a pixel's range."""

    kind: Literal["noise"] = "noise"
    std: float = Field(default=0.05, gt=0, le=1)
    """Standard deviation as a share of the largest value of a pixel, 0 < s <= 1."""
    takes: ClassVar[frozenset[str]] = IMAGES
    differentiable: ClassVar[tuple[str, ...]] = ("std",)

    def step(self) -> Step:
        """A function of pictures."""
        from zafu.augment.runtime import pictures
        from zafu.augment.runtime.step import Whole

        return Whole(pictures.noise, draws=0, magnitudes={"std": self.std})
