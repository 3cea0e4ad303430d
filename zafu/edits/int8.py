"""8 bits: what quantization to int8 leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from zafu.edits.contract import Edit

if TYPE_CHECKING:
    from torch import nn


@final
class Int8(Edit):
    """Layers whose weights are 8-bit integers, in a scale for each output."""

    kind: Literal["int8"] = "int8"
    layers: tuple[str, ...]
    """Their names."""
    reads: Literal["dynamic", "static", "float"] = "dynamic"
    """What they make of what they read: 8 bits by its own range or a calibrated one, or floats."""

    @property
    def trains(self) -> bool:
        """Integers do not learn."""
        return False

    def apply(self, root: nn.Module) -> None:
        """Layers of integers in place of the whole ones."""
        from zafu.nets.int8 import blank
        from zafu.nets.table import exchange

        exchange(root, self.layers, lambda layer: blank(layer, self.reads))
