"""Fewer blocks: what pruning by depth leaves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, final

from zafu.edits.contract import Edit
from zafu.errors import Fault

if TYPE_CHECKING:
    from torch import nn


@final
class Drop(Edit):
    """Blocks of a list are gone; those behind them move up."""

    kind: Literal["drop"] = "drop"
    blocks: tuple[str, ...]
    """Names of the blocks, such as `model.layers.3`, as they were before any of them went."""

    @property
    def link(self) -> str:
        """The kind of the compression that leaves it."""
        return "layers"

    def check(self) -> Iterable[Fault]:
        """Names end with a place in a list."""
        for index, name in enumerate(self.blocks):
            if not name.rpartition(".")[2].isdigit():
                yield Fault(f"blocks.{index}", "a block of a list, such as blocks.3", name)

    def apply(self, root: nn.Module) -> None:
        """Take the blocks out."""
        from zafu.nets.surgery import drop

        drop(root, self.blocks)
