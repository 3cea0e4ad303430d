"""Rounding that is learned with: what quantization-aware training works on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, final

from zafu.edits.contract import Edit
from zafu.errors import Fault

if TYPE_CHECKING:
    from torch import nn


@final
class Fake(Edit):
    """Linear layers see their weights as they will be rounded."""

    kind: Literal["fake"] = "fake"
    layers: tuple[str, ...]
    """Their names."""
    bits: Literal[8, 4]
    """Of the grid."""
    group: int = 0
    """Weights in a row that share their levels; 0: the whole row."""

    @property
    def link(self) -> str:
        """The kind of the compression that leaves it."""
        return "aware"

    def check(self) -> Iterable[Fault]:
        """Groups are not negative."""
        if self.group < 0:
            yield Fault("group", "0 at least", str(self.group))

    def apply(self, root: nn.Module) -> None:
        """Let the layers round what they multiply with."""
        from zafu.nets.fake import fake

        for name in self.layers:
            fake(root.get_submodule(name), self.bits, self.group)  # pyright: ignore[reportArgumentType]
