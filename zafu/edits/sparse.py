"""Zeros that stay: what pruning of single weights leaves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, final

from zafu.edits.contract import Edit
from zafu.errors import Fault

if TYPE_CHECKING:
    from torch import nn


@final
class Sparse(Edit):
    """Layers keep so many of their weights; the others are 0."""

    kind: Literal["sparse"] = "sparse"
    counts: dict[str, int]
    """By layer, how many weights are not 0, >= 0."""

    @property
    def link(self) -> str:
        """The kind of the compression that leaves it."""
        return "sparsify"

    def check(self) -> Iterable[Fault]:
        """Counts are not negative."""
        for name, count in self.counts.items():
            if count < 0:
                yield Fault(f"counts.{name}", "0 at least", str(count))

    def apply(self, root: nn.Module) -> None:
        """Sparse layers in place of the whole ones."""
        from zafu.nets import sparse
        from zafu.nets.surgery import put

        for name, count in self.counts.items():
            layer = root.get_submodule(name)
            put(root, name, sparse.Sparse(layer, count))  # pyright: ignore[reportArgumentType]
