"""Expected gradients, also called GradientSHAP: gradients on the ways from other samples.

Erion et al., 2019 (arXiv:1906.10670); Lundberg & Lee, 2017 (arXiv:1705.07874): integrated gradients
whose nothing is any sample of the training split. Samples are drawn; places on the way are all
different and evenly spread. The sum is right only in the mean over many draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.explain.contract import PIXELS, Attribution, Values

if TYPE_CHECKING:
    from zafu.explain.runtime.subject import Subject

PIECE = 64  # gradients at a time


@final
class GradientShap(Attribution):
    """Gradients on the ways from training samples, times the ways, in the mean."""

    kind: Literal["gradient-shap"] = "gradient-shap"
    takes: ClassVar[frozenset[str]] = PIXELS
    beware: ClassVar[str] = "Drawn at random: the sum is right in the mean alone."
    gradients: ClassVar[bool] = True
    draws: int = Field(default=256, ge=1)
    """Samples that are drawn, each with a place on its way, >= 1."""

    def of(self, subject: Subject) -> Values:
        """`(height, width)`."""
        import torch

        from zafu.explain.runtime.gradients import Points, folded, here, slopes

        random = torch.Generator().manual_seed(0)
        known = subject.background[0] if len(subject.background[0]) else subject.baseline[0]
        whose = torch.randint(len(known), (self.draws,), generator=random)
        places = (torch.randperm(self.draws, generator=random) + 0.5) / self.draws
        end, total = here(subject), torch.zeros(subject.features.shape)
        for some, shares in zip(whose.split(PIECE), places.split(PIECE), strict=True):
            start = Points(known[some.to(known.device)], {})
            _, slope = slopes(subject, start.along(end, shares))
            total += folded(subject, slope.times(end - start)).sum(0).cpu()
        return Values(total / self.draws, how=f"{self.draws} draws")
