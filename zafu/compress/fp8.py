"""Quantization of weights to 8-bit floats (e4m3): a quarter of the bytes, without a grid to choose.

Micikevicius et al., 2022 (arXiv:2209.05433). A float keeps three binary digits of small numbers as
of large ones. It is fast where a device multiplies such floats (CUDA from 9.0 on); a processor has
to widen them for each product and is slower than with whole weights: there, take `int8`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal, final

from zafu.compress.contract import Compression, Reshaping, Work, roundable
from zafu.edits.contract import Edit
from zafu.errors import Fault


@final
class Fp8(Reshaping):
    """Round linear layers, convolutions and embeddings to 8-bit floats."""

    kind: Literal["fp8"] = "fp8"
    fixes: ClassVar[bool] = True
    layers: tuple[str, ...] = ("*",)
    """Patterns of names of the layers that are rounded."""
    skip: tuple[str, ...] = ()
    """Patterns of names of those that are not."""

    def after(self, before: Sequence[Compression]) -> Iterable[Fault]:
        """There must be matrices of floats."""
        return roundable(before, self.kind)

    def apply(self, work: Work) -> Iterable[Edit]:
        """The layers that are rounded."""
        from zafu.compress.runtime.quantize import to_fp8

        return to_fp8(self, work)
