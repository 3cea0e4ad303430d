"""Pruning of single weights: most become 0, and are stored as a mask and the others.

By size: Han et al., 2015 (arXiv:1506.02626). By what they add to an output, |w| times the size of
what it reads: Wanda, Sun et al., 2023 (arXiv:2306.11695). With the others adapted: SparseGPT,
Frantar & Alistarh, 2023 (arXiv:2301.00774). A processor multiplies zeros as fast as anything else:
this saves bytes on disk, and time only where a device has kernels for its pattern.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal, final

from pydantic import Field

from zafu.compress.contract import Calibrated, Compression, Work, whole
from zafu.edits.contract import Edit
from zafu.errors import Fault


@final
class Sparsify(Calibrated):
    """Set the least needed weights of each matrix, or of all, to 0; training leaves them there."""

    kind: Literal["sparsify"] = "sparsify"
    positional: ClassVar[tuple[str, ...]] = ("amount",)
    ranges: ClassVar[dict[str, str]] = {"amount": "0:0.95"}
    amount: float = Field(default=0.5, ge=0, lt=1)
    """Share of the weights that become 0, 0 <= a < 1; with a pattern it follows from that."""
    score: Literal["sparsegpt", "wanda", "magnitude", "random"] = "sparsegpt"
    """How weights are ranked; sparsegpt also adapts those that stay."""
    scope: Literal["layer", "model"] = "layer"
    """Whether each matrix loses that share, or the model (by magnitude alone)."""
    pattern: Literal["any", "2:4"] = "any"
    """Which may go: any, or two of each four neighbours, as some devices want it."""
    layers: tuple[str, ...] = ("*",)
    """Patterns of names of the layers whose weights may go."""
    skip: tuple[str, ...] = ("lm_head", "head")
    """Patterns of names of those that keep all."""

    def check(self) -> Iterable[Fault]:
        """A pattern has its share; only magnitudes can be compared between matrices."""
        if self.pattern == "2:4" and self.amount not in (0, 0.5):
            yield Fault("amount", "0.5 with the pattern 2:4", f"{self.amount:g}")
        if self.scope == "model" and (self.score != "magnitude" or self.pattern != "any"):
            expected = "layer, unless single weights are ranked by magnitude"
            yield Fault("scope", expected, f"model with {self.score}, pattern {self.pattern}")

    def after(self, before: Iterable[Compression]) -> Iterable[Fault]:
        """It changes weights."""
        return whole(tuple(before), "sparsify")

    def apply(self, work: Work) -> Iterable[Edit]:
        """The layers that are sparse."""
        from zafu.compress.runtime.sparse import sparsify

        return sparsify(self, work)
