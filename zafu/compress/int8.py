"""Quantization to 8 bits: a quarter of the bytes, and faster where the processor multiplies them.

Jacob et al., 2018 (arXiv:1712.05877). Weights get a scale for each output; activations one for each
token or tensor as they come (dynamic), a calibrated one (static), or they stay floats (float).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal, final

from zafu.compress.contract import Calibrated, Compression, Work, roundable
from zafu.edits.contract import Edit
from zafu.errors import Fault


@final
class Int8(Calibrated):
    """Round linear layers, convolutions and embeddings to 8-bit integers."""

    kind: Literal["int8"] = "int8"
    positional: ClassVar[tuple[str, ...]] = ("reads",)
    fixes: ClassVar[bool] = True
    reads: Literal["dynamic", "static", "float"] = "dynamic"
    """How activations are read: in 8 bits by their own range, or by one that samples had; or as
    floats, so that weights alone are small."""
    layers: tuple[str, ...] = ("*",)
    """Patterns of names of the layers that are rounded."""
    skip: tuple[str, ...] = ()
    """Patterns of names of those that are not."""

    def after(self, before: Iterable[Compression]) -> Iterable[Fault]:
        """There must be matrices of floats."""
        return roundable(tuple(before), self.kind)

    def apply(self, work: Work) -> Iterable[Edit]:
        """The layers that are rounded."""
        from zafu.compress.runtime.quantize import to_int8

        return to_int8(self, work)
