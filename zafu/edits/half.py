"""16 bits: weights and arithmetic in a float of half the size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from zafu.edits.contract import Edit

if TYPE_CHECKING:
    from torch import nn


@final
class Half(Edit):
    """The whole model computes in a 16-bit type; what goes in and comes out is float32."""

    kind: Literal["half"] = "half"
    dtype: Literal["bf16", "fp16"]
    """Which type."""

    @property
    def link(self) -> str:
        """The kind of the compression that leaves it."""
        return self.dtype

    @property
    def trains(self) -> bool:
        """Steps would be lost in rounding."""
        return False

    def apply(self, root: nn.Module) -> None:
        """Cast weights, and what passes the borders of the model."""
        from zafu.nets.half import narrow

        narrow(root, self.dtype)
