"""Color: brightness, contrast, saturation and hue, each one's factor drawn for each picture.

Howard, 2013 (arXiv:1312.5402), with the formulas of Pillow's `ImageEnhance`; hue turns chroma in
the I-Q plane of YIQ, which is linear and keeps luma, where others turn HSV's. Neighbouring steps
are one 3x4 matrix: values are cut to a pixel's range after the last of them, not between. The mean
about which contrast turns is the picture's own before neighbouring geometric steps. Pictures of
one channel have brightness and contrast; saturation and hue are refused there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.augment.contract import IMAGES, Augmentation

if TYPE_CHECKING:
    from zafu.augment.runtime.step import Step


@final
class Brightness(Augmentation):
    """All values times a factor."""

    kind: Literal["brightness"] = "brightness"
    amount: float = Field(default=0.2, gt=0, le=1)
    """Most by which the factor differs from 1 either way, 0 < a <= 1."""
    takes: ClassVar[frozenset[str]] = IMAGES
    differentiable: ClassVar[tuple[str, ...]] = ("amount",)

    def step(self) -> Step:
        """A tint."""
        from zafu.augment.runtime import colors
        from zafu.augment.runtime.step import Coloring

        return Coloring(colors.brightness, draws=1, magnitudes={"amount": self.amount})


@final
class Contrast(Augmentation):
    """Distances from the picture's mean luma times a factor."""

    kind: Literal["contrast"] = "contrast"
    amount: float = Field(default=0.2, gt=0, le=1)
    """Most by which the factor differs from 1 either way, 0 < a <= 1."""
    takes: ClassVar[frozenset[str]] = IMAGES
    differentiable: ClassVar[tuple[str, ...]] = ("amount",)

    def step(self) -> Step:
        """A tint."""
        from zafu.augment.runtime import colors
        from zafu.augment.runtime.step import Coloring

        magnitudes = {"amount": self.amount}
        return Coloring(colors.contrast, draws=1, uses_mean=True, magnitudes=magnitudes)


@final
class Saturation(Augmentation):
    """Distances from each pixel's luma times a factor; for pictures of three channels."""

    kind: Literal["saturation"] = "saturation"
    amount: float = Field(default=0.2, gt=0, le=1)
    """Most by which the factor differs from 1 either way, 0 < a <= 1."""
    takes: ClassVar[frozenset[str]] = IMAGES
    colors: ClassVar[bool] = True
    differentiable: ClassVar[tuple[str, ...]] = ("amount",)

    def step(self) -> Step:
        """A tint."""
        from zafu.augment.runtime import colors
        from zafu.augment.runtime.step import Coloring

        return Coloring(colors.saturation, draws=1, magnitudes={"amount": self.amount})


@final
class Hue(Augmentation):
    """Chroma turned in the I-Q plane, luma kept; for pictures of three channels."""

    kind: Literal["hue"] = "hue"
    degrees: float = Field(default=18.0, gt=0, le=180)
    """Largest angle either way, 0 < d <= 180 degrees; each is uniform in between."""
    takes: ClassVar[frozenset[str]] = IMAGES
    colors: ClassVar[bool] = True
    differentiable: ClassVar[tuple[str, ...]] = ("degrees",)

    def step(self) -> Step:
        """A tint."""
        from zafu.augment.runtime import colors
        from zafu.augment.runtime.step import Coloring

        return Coloring(colors.hue, draws=1, turns=True, magnitudes={"degrees": self.degrees})
