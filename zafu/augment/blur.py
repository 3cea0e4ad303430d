"""Blur: pictures convolved with a Gaussian, cut at three standard deviations of the widest one.

Lopes et al., 2019 (arXiv:1906.02611), of noise and blur as augmentation. Beyond the edges the
outermost pixels go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.augment.contract import IMAGES, Augmentation

if TYPE_CHECKING:
    from zafu.augment.runtime.step import Step


@final
class Blur(Augmentation):
    """Convolved with a Gaussian of random width."""

    kind: Literal["blur"] = "blur"
    sigma: float = Field(default=1.0, gt=0, le=32)
    """Largest standard deviation, 0 < s <= 32 pixels; each is uniform from 0."""
    takes: ClassVar[frozenset[str]] = IMAGES
    differentiable: ClassVar[tuple[str, ...]] = ("sigma",)

    def step(self) -> Step:
        """A function of pictures."""
        from zafu.augment.runtime import pictures
        from zafu.augment.runtime.step import Whole

        return Whole(pictures.blur, draws=1, magnitudes={"sigma": self.sigma})
