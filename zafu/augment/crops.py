"""Crops: a part of a picture, which keeps its size.

`crop` pads all sides and cuts out the picture's size at random (He et al., 2015,
arXiv:1512.03385, section 4.2); it keeps every byte that it shows. `resized-crop` cuts out a part of
random area and ratio of sides and brings it to the picture's size (Szegedy et al., 2014,
arXiv:1409.4842). Where others draw until a part fits, sides that are too long are cut to the
picture's, so that one draw is enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.augment.contract import IMAGES, Augmentation, Fill
from zafu.errors import Fault

if TYPE_CHECKING:
    from zafu.augment.runtime.step import Step


@final
class Crop(Augmentation):
    """Padded on all sides, then cut to size at a random place."""

    kind: Literal["crop"] = "crop"
    padding: int = Field(default=4, ge=1, le=2048)
    """Pixels added on each side, 1 to 2048: the largest move either way."""
    fill: Fill = "zeros"
    """What is added: zeros, border (the outermost pixel) or reflection."""
    takes: ClassVar[frozenset[str]] = IMAGES

    def step(self) -> Step:
        """A map onto whole pixels."""
        from zafu.augment.runtime import geometry
        from zafu.augment.runtime.step import Geometric

        return Geometric(
            geometry.moved,
            draws=2,
            fill=self.fill,
            whole_pixels=True,
            magnitudes={"padding": float(self.padding)},
        )


@final
class ResizedCrop(Augmentation):
    """A part of random area and ratio of sides, brought to the picture's size."""

    kind: Literal["resized-crop"] = "resized-crop"
    smallest: float = Field(default=0.25, gt=0, le=1)
    """Least area of the part as a share of the picture's, 0 < s <= largest."""
    largest: float = Field(default=1.0, gt=0, le=1)
    """Largest area of the part as a share of the picture's, 0 < s <= 1."""
    ratio: float = Field(default=4 / 3, ge=1, le=8)
    """Most by which the ratio of the sides changes either way, 1 <= r <= 8."""
    takes: ClassVar[frozenset[str]] = IMAGES

    def check(self) -> Iterable[Fault]:
        """The least area is not above the largest."""
        if self.smallest > self.largest:
            found = f"{self.smallest:g} > {self.largest:g}"
            yield Fault("smallest", "a share of at most largest", found)

    def step(self) -> Step:
        """A map."""
        from zafu.augment.runtime import geometry
        from zafu.augment.runtime.step import Geometric

        sizes = {"smallest": self.smallest, "largest": self.largest, "ratio": self.ratio}
        return Geometric(geometry.zoomed, draws=4, magnitudes=sizes)
