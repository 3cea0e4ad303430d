"""Gradient times input: the gradient by each token's vector, times that vector less nothing's.

Shrikumar et al., 2016 (arXiv:1605.01713). The first term of a series: right where the model is
nearly linear between the two, which attention is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from zafu.explain.contract import TOKENS, Attribution, Values

if TYPE_CHECKING:
    from zafu.explain.runtime.subject import Subject


@final
class GradientXInput(Attribution):
    """The slope by each token's vector, times how far that is from the baseline's."""

    kind: Literal["gradient-x-input"] = "gradient-x-input"
    takes: ClassVar[frozenset[str]] = TOKENS
    beware: ClassVar[str] = "Right only where the model is nearly linear."
    gradients: ClassVar[bool] = True

    def of(self, subject: Subject) -> Values:
        """`(tokens,)`."""
        from zafu.explain.runtime.gradients import folded, here, nothing, slopes

        point = here(subject)
        _, slope = slopes(subject, point)
        return Values(folded(subject, slope.times(point - nothing(subject)))[0])
