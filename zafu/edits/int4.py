"""4 bits: what quantization to int4 leaves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, final

from zafu.edits.contract import Edit
from zafu.errors import Fault

if TYPE_CHECKING:
    from torch import nn


@final
class Int4(Edit):
    """Linear layers whose weights are 4-bit integers, in levels for each group of inputs."""

    kind: Literal["int4"] = "int4"
    layers: tuple[str, ...]
    """Their names."""
    group: int
    """Weights in a row that share their levels: 32, 64, 128 or 256."""

    def check(self) -> Iterable[Fault]:
        """The kernel knows some sizes."""
        if self.group not in GROUPS:
            yield Fault("group", f"one of {', '.join(map(str, GROUPS))}", str(self.group))

    @property
    def trains(self) -> bool:
        """Integers do not learn."""
        return False

    def apply(self, root: nn.Module) -> None:
        """Layers of integers in place of the whole ones."""
        from zafu.nets.int4 import blank
        from zafu.nets.table import exchange

        exchange(root, self.layers, lambda layer: blank(layer, self.group))


GROUPS = (32, 64, 128, 256)
