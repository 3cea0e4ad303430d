"""Erasing: a random rectangle of a picture gives way to noise, zeros or the picture's mean.

Zhong et al., 2017 (arXiv:1708.04896). The ratio of the sides is uniform in its logarithm, and a
side that is too long is cut to the picture's, where the paper draws until a rectangle fits.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.augment.contract import IMAGES, Augmentation
from zafu.errors import Fault

if TYPE_CHECKING:
    from zafu.augment.runtime.step import Step


@final
class Erasing(Augmentation):
    """A rectangle of random place, area and ratio of sides is erased."""

    kind: Literal["erasing"] = "erasing"
    probability: float = Field(default=0.5, gt=0, le=1)
    """Share of the pictures in which something is erased, 0 < p <= 1."""
    smallest: float = Field(default=0.02, gt=0, le=1)
    """Least area as a share of the picture's, 0 < s <= largest."""
    largest: float = Field(default=0.4, gt=0, le=1)
    """Largest area as a share of the picture's, 0 < s <= 1."""
    ratio: float = Field(default=10 / 3, ge=1, le=100)
    """Largest ratio of the longer side to the shorter, 1 <= r <= 100."""
    value: Literal["noise", "zeros", "mean"] = "noise"
    """What stands there: noise (uniform values), zeros, or the mean of each channel."""
    takes: ClassVar[frozenset[str]] = IMAGES

    def check(self) -> Iterable[Fault]:
        """The least area is not above the largest."""
        if self.smallest > self.largest:
            found = f"{self.smallest:g} > {self.largest:g}"
            yield Fault("smallest", "a share of at most largest", found)

    def step(self) -> Step:
        """A function of pictures."""
        from zafu.augment.runtime import pictures
        from zafu.augment.runtime.step import Whole

        sizes = {"smallest": self.smallest, "largest": self.largest, "ratio": self.ratio}
        return Whole(partial(pictures.erasing, value=self.value), draws=4, magnitudes=sizes)
