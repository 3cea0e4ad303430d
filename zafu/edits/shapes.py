"""Smaller matrices: what pruning of whole neurons, heads or channels leaves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, final

from zafu.edits.contract import Edit, positive
from zafu.errors import Fault

if TYPE_CHECKING:
    from torch import nn


@final
class Shapes(Edit):
    """Parameters have other shapes than the model gives them."""

    kind: Literal["shapes"] = "shapes"
    shapes: dict[str, tuple[int, ...]]
    """The shape of each parameter that changed, by name."""

    @property
    def link(self) -> str:
        """The kind of the compression that leaves it."""
        return "prune"

    def check(self) -> Iterable[Fault]:
        """Sizes are positive."""
        for name, shape in self.shapes.items():
            yield from positive(f"shapes.{name}", shape)

    def apply(self, root: nn.Module) -> None:
        """Empty parameters of these shapes, in layers that know their sizes."""
        from zafu.nets.surgery import resize

        resize(root, self.shapes)
