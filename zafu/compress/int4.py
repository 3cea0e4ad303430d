"""Quantization of weights to 4 bits: an eighth of the bytes, for models that wait for memory.

GPTQ: Frantar et al., 2022 (arXiv:2210.17323): columns are rounded one after the other, and those
not yet rounded make good for what is lost, by what the layer reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal, final

from zafu.compress.contract import Calibrated, Compression, Work, roundable
from zafu.edits.contract import Edit
from zafu.edits.int4 import GROUPS
from zafu.errors import Fault


@final
class Int4(Calibrated):
    """Round linear layers to 16 levels a group; what they read stays as it is.

    A head, and embeddings, lose more by it than other layers: they are rounded if asked for.
    """

    kind: Literal["int4"] = "int4"
    positional: ClassVar[tuple[str, ...]] = ("group",)
    fixes: ClassVar[bool] = True
    group: int = 32
    """Weights in a row that share their levels: 32, 64, 128 or 256."""
    compensate: bool = True
    """Whether later weights make good for what rounding earlier ones loses."""
    layers: tuple[str, ...] = ("*",)
    """Patterns of names of the layers that are rounded."""
    skip: tuple[str, ...] = ("lm_head", "head")
    """Patterns of names of those that are not; int8 behind it takes them."""
    tables: bool = False
    """Whether embeddings are rounded too, and with them a head that shares their weights."""

    def check(self) -> Iterable[Fault]:
        """The kernel knows some sizes."""
        if self.group not in GROUPS:
            yield Fault("group", f"one of {', '.join(map(str, GROUPS))}", str(self.group))

    def after(self, before: Iterable[Compression]) -> Iterable[Fault]:
        """There must be matrices of floats."""
        return roundable(tuple(before), self.kind)

    def apply(self, work: Work) -> Iterable[Edit]:
        """The layers that are rounded."""
        from zafu.compress.runtime.quantize import to_int4

        return to_int4(self, work)
