"""Getting ready for rounding: layers that compute as rounded ones, for training behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal, final

from zafu.compress.contract import Compression, Reshaping, Work, whole
from zafu.edits.contract import Edit
from zafu.errors import Fault


@final
class Aware(Reshaping):
    """Quantization-aware: `aware:4 > tune:2epochs > int4`."""

    kind: Literal["aware"] = "aware"
    positional: ClassVar[tuple[str, ...]] = ("bits", "group")
    bits: Literal[8, 4] = 8
    """Of the grid on which weights will be."""
    group: int = 0
    """Weights in a row that share levels; 0: the row with 8 bits, 32 with 4."""
    layers: tuple[str, ...] = ("*",)
    """Patterns of names of the linear layers."""
    skip: tuple[str, ...] = ("lm_head", "head")
    """Patterns of names of those that are not rounded."""

    def check(self) -> Iterable[Fault]:
        """8 bits have a scale a row."""
        if self.group < 0 or (self.bits == 8 and self.group):
            yield Fault("group", "0 with 8 bits, else 1 at least", str(self.group))

    def after(self, before: Iterable[Compression]) -> Iterable[Fault]:
        """There must be weights that can learn."""
        return whole(tuple(before), "aware")

    def apply(self, work: Work) -> Iterable[Edit]:
        """The layers that see themselves rounded."""
        from zafu.compress.runtime.quantize import to_fake

        return to_fake(self, work)
