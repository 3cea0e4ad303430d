"""Pruning of single weights while they are trained: `fit.sparsity`, behind a finished model.

Zhu & Gupta, 2017 (arXiv:1710.01878); by movement: Sanh et al., 2020 (arXiv:2005.07683).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, final

from pydantic import Field

from zafu.compress.contract import Compression, whole
from zafu.compress.recovery import Recovery
from zafu.errors import Fault
from zafu.optim.sparsity import Scope, Score, window


@final
class Gradual(Recovery):
    """Train on, while more and more weights become 0; it is stored as `sparsify` stores it."""

    kind: Literal["gradual"] = "gradual"
    positional: ClassVar[tuple[str, ...]] = ("amount", "budget")
    ranges: ClassVar[dict[str, str]] = {"amount": "0:0.95"}
    amount: float = Field(default=0.8, ge=0, lt=1)
    """Share of the weights that are 0 in the end, 0 <= a < 1."""
    score: Score = "magnitude"
    """Which go first: the smallest, or by movement those that training moves towards 0."""
    scope: Scope = "layer"
    """Whether each matrix loses that share, or all of them together."""
    begin: float = Field(default=0.0, ge=0, lt=1)
    """Share of the budget before the first zeros, 0 <= b < 1."""
    end: float = Field(default=0.75, gt=0, le=1)
    """Share of the budget after which all are there, > begin; a step must follow it."""
    every: int = Field(default=10, ge=1)
    """Steps between which more weights go, >= 1."""
    layers: tuple[str, ...] = ("*",)
    """Patterns of names of the layers whose weights may go."""
    skip: tuple[str, ...] = ("lm_head", "head")
    """Patterns of names of those that keep all."""

    def check(self) -> Iterable[Fault]:
        """A budget, with time between begin and end."""
        yield from super().check()
        yield from window(self.begin, self.end)

    def after(self, before: Iterable[Compression]) -> Iterable[Fault]:
        """It changes weights, of layers that have their matrices as such."""
        before = tuple(before)
        yield from whole(before, "gradual")
        for link in before:
            if link.kind in ("sparsify", "gradual"):
                yield Fault("", f"gradual before {link.kind}, behind which zeros stay", "it behind")

    def changes(self, fit: dict[str, Any], start: str, first: str) -> dict[str, Any]:
        """Budget, learning rate, start, and which weights go."""
        names = ("amount", "score", "scope", "begin", "end", "every", "layers", "skip")
        spec = {name: getattr(self, name) for name in names}
        return self.trained(fit, start) | {"distil": None, "sparsity": spec}
