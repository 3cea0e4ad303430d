"""Pruning of single weights while they are trained: `fit.sparsity`, behind a finished model.

Zhu & Gupta, 2017 (arXiv:1710.01878); by movement: Sanh et al., 2020 (arXiv:2005.07683).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, final

from zafu.compress.contract import Compression, whole
from zafu.compress.recovery import Recovery
from zafu.errors import Fault
from zafu.optim.sparsity import Zeros, window


@final
class Gradual(Recovery, Zeros):
    """Train on, while more and more weights become 0; it is stored as `sparsify` stores it."""

    kind: Literal["gradual"] = "gradual"
    positional: ClassVar[tuple[str, ...]] = ("amount", "budget")
    ranges: ClassVar[dict[str, str]] = {"amount": "0:0.95"}

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
        spec = self.model_dump(mode="json", include=set(Zeros.model_fields))
        return self.trained(fit, start) | {"distil": None, "sparsity": spec}
