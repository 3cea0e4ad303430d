"""TrivialAugment: one random operation of random strength on each picture, nothing to tune.

Müller & Hutter, 2021 (arXiv:2103.10158), with the wide space: identity, shear and move along x and
y, rotate, brightness, color, contrast, sharpness, posterize, solarize, autocontrast, equalize, in
31 strengths. We interpolate bilinearly, and move by at most 45 % of a side, since 32 pixels would
put small pictures out of sight.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, final

from zafu.augment.contract import IMAGES, Augmentation, Fill

if TYPE_CHECKING:
    from zafu.augment.runtime.step import Step


@final
class TrivialAugment(Augmentation):
    """One of 14 operations, drawn with its strength."""

    kind: Literal["trivial-augment"] = "trivial-augment"
    fill: Fill = "zeros"
    """What stands beyond the edges: zeros, border (the outermost pixel) or reflection."""
    takes: ClassVar[frozenset[str]] = IMAGES

    def step(self) -> Step:
        """A function of pictures."""
        from zafu.augment.runtime import trivial
        from zafu.augment.runtime.step import Whole

        return Whole(partial(trivial.trivial_augment, fill=self.fill), draws=3)
