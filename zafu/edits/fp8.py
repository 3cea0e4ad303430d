"""8-bit floats: what quantization to fp8 leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from zafu.edits.contract import Edit

if TYPE_CHECKING:
    from torch import nn


@final
class Fp8(Edit):
    """Layers whose weights are 8-bit floats (e4m3), in a scale for each output."""

    kind: Literal["fp8"] = "fp8"
    layers: tuple[str, ...]
    """Their names."""

    @property
    def trains(self) -> bool:
        """Steps would be lost in rounding."""
        return False

    def apply(self, root: nn.Module) -> None:
        """Layers of 8-bit floats in place of the whole ones."""
        from zafu.nets.fp8 import blank
        from zafu.nets.table import exchange

        exchange(root, self.layers, blank)
