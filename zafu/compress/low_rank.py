"""Low rank: replace W (out, in) by A (out, r) B (r, in) where that needs fewer numbers.

Eckart & Young, 1936: the truncated SVD is the nearest matrix of rank r. Denton et al., 2014
(arXiv:1404.0736): the same for the layers of a trained network. Wang et al., 2024
(arXiv:2403.07378): nearest in what the layer gives for the inputs that it sees, by whitening.
Convolutions by Tucker-2: Kim et al., 2016 (arXiv:1511.06530), or by CP: Lebedev et al., 2014
(arXiv:1412.6553).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal, final

from pydantic import Field

from zafu.compress.contract import Calibrated, Compression, Work, whole
from zafu.edits.contract import Edit
from zafu.errors import Fault


@final
class LowRank(Calibrated):
    """Factor matrices; ranks are dealt so that the whole loses least for its size."""

    kind: Literal["low-rank"] = "low-rank"
    positional: ClassVar[tuple[str, ...]] = ("keep",)
    ranges: ClassVar[dict[str, str]] = {"keep": "0.2:1"}
    keep: float = Field(default=0.6, gt=0, le=1)
    """Share of the numbers in these matrices that is left, 0 < k <= 1."""
    ranks: Literal["global", "uniform"] = "global"
    """Whether ranks go where they save most error, or each matrix keeps the same share."""
    whiten: bool = True
    """Whether the error counts in what layers give for samples, or in the weights alone."""
    convolutions: Literal["tucker", "cp"] = "tucker"
    """Whether a convolution becomes three (two 1x1 and a core between fewer channels) or four (two
    1x1, and one of each channel along either side)."""
    layers: tuple[str, ...] = ("*",)
    """Patterns of names of the layers that are factored."""
    skip: tuple[str, ...] = ("lm_head", "head")
    """Patterns of names of those that are not."""

    def after(self, before: Iterable[Compression]) -> Iterable[Fault]:
        """It changes weights; what is factored once is not factored again."""
        return whole(tuple(before), "low-rank")

    def apply(self, work: Work) -> Iterable[Edit]:
        """The ranks of the layers that were worth it."""
        from zafu.compress.runtime.factor import factor

        return factor(self, work)
