"""GradientSHAP: gradients on the ways from many samples of the training split, by captum.

Lundberg & Lee, 2017 (arXiv:1705.07874); Erion et al., 2019 (arXiv:1906.10670): integrated
gradients whose nothing is any other sample, one gradient on each way, at a place drawn at random.
The sum is right only in the mean over many draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.explain.contract import PIXELS, Attribution, Values

if TYPE_CHECKING:
    from zafu.explain.runtime.subject import Subject


@final
class GradientShap(Attribution):
    """Expected gradients over the training split."""

    kind: Literal["gradient-shap"] = "gradient-shap"
    takes: ClassVar[frozenset[str]] = PIXELS
    beware: ClassVar[str] = "Drawn at random: the sum is right in the mean alone."
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("captum", "explain"),)
    gradients: ClassVar[bool] = True
    draws: int = Field(default=256, ge=1)
    """Samples and places that are drawn, >= 1."""

    def of(self, subject: Subject) -> Values:
        """`(height, width)`."""
        import torch
        from captum.attr import GradientShap as Captum  # pyright: ignore[reportMissingImports]

        known = len(subject.background[0]) > 0
        others = subject.background[0] if known else subject.baseline[0]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            found = Captum(lambda x: subject.score(subject.said(x))).attribute(
                subject.inputs[0], baselines=others, n_samples=self.draws
            )
        return Values(
            subject.features.folded(found, {})[0].detach().cpu(), how=f"{self.draws} draws"
        )
