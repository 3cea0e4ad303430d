"""Geometry: pictures turned, enlarged, moved and sheared, bilinear between pixels.

Used since Simard, Steinkraus & Platt, 2003 ("Best practices for convolutional neural networks").
Neighbouring steps of a recipe are one map and one pass, so what a step moves out of sight another
can bring back. Gradients reach the magnitudes, but for kinks where a pixel is hit exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.augment.contract import IMAGES, Augmentation, Fill

if TYPE_CHECKING:
    from zafu.augment.runtime.step import Step


@final
class Rotation(Augmentation):
    """Turned about the center."""

    kind: Literal["rotation"] = "rotation"
    degrees: float = Field(default=15.0, gt=0, le=180)
    """Largest angle either way, 0 < d <= 180 degrees; each is uniform in between."""
    fill: Fill = "zeros"
    """What stands beyond the edges: zeros, border (the outermost pixel) or reflection."""
    takes: ClassVar[frozenset[str]] = IMAGES
    differentiable: ClassVar[tuple[str, ...]] = ("degrees",)

    def step(self) -> Step:
        """A map."""
        from zafu.augment.runtime import geometry
        from zafu.augment.runtime.step import Geometric

        magnitudes = {"degrees": self.degrees}
        return Geometric(geometry.rotation, draws=1, fill=self.fill, magnitudes=magnitudes)


@final
class Scaling(Augmentation):
    """Enlarged or made smaller about the center; the picture keeps its size."""

    kind: Literal["scaling"] = "scaling"
    factor: float = Field(default=1.2, gt=1, le=8)
    """Largest factor, 1 < f <= 8: a factor is f to the power of u, u uniform from -1 to 1."""
    fill: Fill = "zeros"
    """What stands beyond the edges: zeros, border (the outermost pixel) or reflection."""
    takes: ClassVar[frozenset[str]] = IMAGES
    differentiable: ClassVar[tuple[str, ...]] = ("factor",)

    def step(self) -> Step:
        """A map."""
        from zafu.augment.runtime import geometry
        from zafu.augment.runtime.step import Geometric

        magnitudes = {"factor": self.factor}
        return Geometric(geometry.scaling, draws=1, fill=self.fill, magnitudes=magnitudes)


@final
class Translation(Augmentation):
    """Moved along both axes, by parts of a pixel too."""

    kind: Literal["translation"] = "translation"
    share: float = Field(default=0.1, gt=0, le=1)
    """Largest move as a share of the side, 0 < s <= 1; each is uniform either way."""
    fill: Fill = "zeros"
    """What stands beyond the edges: zeros, border (the outermost pixel) or reflection."""
    takes: ClassVar[frozenset[str]] = IMAGES
    differentiable: ClassVar[tuple[str, ...]] = ("share",)

    def step(self) -> Step:
        """A map."""
        from zafu.augment.runtime import geometry
        from zafu.augment.runtime.step import Geometric

        magnitudes = {"share": self.share}
        return Geometric(geometry.translation, draws=2, fill=self.fill, magnitudes=magnitudes)


@final
class Shear(Augmentation):
    """Lines moved in proportion to their height, so that what was upright leans."""

    kind: Literal["shear"] = "shear"
    degrees: float = Field(default=10.0, gt=0, le=80)
    """Largest angle by which what was upright leans either way, 0 < d <= 80 degrees."""
    axis: Literal["x", "y", "both"] = "x"
    """Along which axis pixels move; both: along x, then along y by an angle of its own."""
    fill: Fill = "zeros"
    """What stands beyond the edges: zeros, border (the outermost pixel) or reflection."""
    takes: ClassVar[frozenset[str]] = IMAGES
    differentiable: ClassVar[tuple[str, ...]] = ("degrees",)

    def step(self) -> Step:
        """A map."""
        from zafu.augment.runtime import geometry
        from zafu.augment.runtime.step import Geometric

        ways = {"x": geometry.shear_x, "y": geometry.shear_y, "both": geometry.shear_both}
        magnitudes = {"degrees": self.degrees}
        return Geometric(ways[self.axis], draws=2, fill=self.fill, magnitudes=magnitudes)
