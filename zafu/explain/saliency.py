"""Saliency: how strongly an answer would react to each pixel, the size of its gradient.

Simonyan et al., 2013 (arXiv:1312.6034). It says where the answer is sensitive, not what it rests
on: a pixel on which everything rests may have no slope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from zafu.explain.contract import PIXELS, Attribution, Values

if TYPE_CHECKING:
    from zafu.explain.runtime.subject import Subject


@final
class Saliency(Attribution):
    """The size of the gradient by each pixel, the largest of its channels."""

    kind: Literal["saliency"] = "saliency"
    takes: ClassVar[frozenset[str]] = PIXELS
    beware: ClassVar[str] = "Where an answer rests on something for certain, the slope may be 0."
    gradients: ClassVar[bool] = True
    signed: ClassVar[bool] = False

    def of(self, subject: Subject) -> Values:
        """`(height, width)`, >= 0."""
        from zafu.explain.runtime.gradients import here, slopes

        _, slope = slopes(subject, here(subject))
        return Values(slope.floats[0].abs().amax(0))
