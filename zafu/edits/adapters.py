"""Adapters: what fine-tuning of few numbers works on, and their end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, final

from zafu.edits.contract import Edit
from zafu.errors import Fault

if TYPE_CHECKING:
    from torch import nn


@final
class Adapters(Edit):
    """Linear layers have adapters; they alone learn."""

    kind: Literal["adapters"] = "adapters"
    layers: tuple[str, ...]
    """Their names."""
    rank: int
    """Of the adapters, >= 1."""
    alpha: float
    """What they add is multiplied by alpha / rank."""

    @property
    def link(self) -> str:
        """The kind of the compression that leaves it."""
        return "lora"

    def check(self) -> Iterable[Fault]:
        """A rank is positive."""
        if self.rank < 1:
            yield Fault("rank", "1 at least", str(self.rank))

    def apply(self, root: nn.Module) -> None:
        """Fresh adapters; all else is frozen."""
        from zafu.nets.adapters import adapt

        adapt(root, self.layers, self.rank, self.alpha)


@final
class Merged(Edit):
    """What adapters have learned is a part of the matrices, and they are gone."""

    kind: Literal["merged"] = "merged"

    @property
    def link(self) -> str:
        """The kind of the compression that leaves it."""
        return "merge"

    def apply(self, root: nn.Module) -> None:
        """Plain layers, all of which learn."""
        from zafu.nets.adapters import merge

        merge(root)
