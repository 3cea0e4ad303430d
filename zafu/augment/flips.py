"""Flips: pictures mirrored, exactly; alone or beside crops they keep every byte.

Krizhevsky, Sutskever & Hinton, 2012 ("ImageNet classification with deep convolutional networks").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.augment.contract import IMAGES, Augmentation

if TYPE_CHECKING:
    from zafu.augment.runtime.step import Step


@final
class HorizontalFlip(Augmentation):
    """Left and right exchanged."""

    kind: Literal["horizontal-flip"] = "horizontal-flip"
    probability: float = Field(default=0.5, gt=0, le=1)
    """Share of the pictures that are flipped, 0 < p <= 1."""
    takes: ClassVar[frozenset[str]] = IMAGES

    def step(self) -> Step:
        """A map onto whole pixels."""
        from zafu.augment.runtime import geometry
        from zafu.augment.runtime.step import Geometric

        return Geometric(geometry.mirrored_x, draws=0, whole_pixels=True)


@final
class VerticalFlip(Augmentation):
    """Top and bottom exchanged."""

    kind: Literal["vertical-flip"] = "vertical-flip"
    probability: float = Field(default=0.5, gt=0, le=1)
    """Share of the pictures that are flipped, 0 < p <= 1."""
    takes: ClassVar[frozenset[str]] = IMAGES

    def step(self) -> Step:
        """A map onto whole pixels."""
        from zafu.augment.runtime import geometry
        from zafu.augment.runtime.step import Geometric

        return Geometric(geometry.mirrored_y, draws=0, whole_pixels=True)
