"""Mixed precision: each layer gets 4 or 8 bits or stays, so that all together lose least.

Cai et al., 2020 (arXiv:2001.00281): each layer is rounded alone, and how far the answers move is
measured (what the loss would rise by if targets were as the model says); the assignment with the
least sum within the bytes is found among all. It takes two passes over the samples a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal, final

from pydantic import Field

from zafu.compress.contract import Calibrated, Compression, Work, roundable
from zafu.edits.contract import Edit
from zafu.edits.int4 import GROUPS
from zafu.errors import Fault


@final
class Mixed(Calibrated):
    """Choose the bits of each layer by what they cost, within a share of the bytes."""

    kind: Literal["mixed"] = "mixed"
    positional: ClassVar[tuple[str, ...]] = ("bytes", "loss")
    fixes: ClassVar[bool] = True
    bytes: float = Field(default=0.3, gt=0, le=1)
    """Most bytes of the weights, as a share of those before, 0 < bytes <= 1."""
    loss: float | None = Field(default=None, ge=0)
    """If given, the smallest model is taken of which layers, rounded one by one, add no more to the
    loss of a target than this; else the one that adds least within the bytes."""
    group: int = 32
    """Weights in a row that share their levels in 4 bits: 32, 64, 128 or 256."""
    reads: Literal["dynamic", "static", "float"] = "dynamic"
    """How activations of layers in 8 bits are read, as `int8` has it."""
    layers: tuple[str, ...] = ("*",)
    """Patterns of names of the layers that may be rounded."""
    skip: tuple[str, ...] = ()
    """Patterns of names of those that are not."""
    samples: int = Field(default=64, ge=1)
    """Samples of the training split by which layers are measured, >= 1."""

    def check(self) -> Iterable[Fault]:
        """The kernel knows some sizes."""
        if self.group not in GROUPS:
            yield Fault("group", f"one of {', '.join(map(str, GROUPS))}", str(self.group))

    def after(self, before: Sequence[Compression]) -> Iterable[Fault]:
        """There must be matrices of floats."""
        return roundable(before, self.kind)

    def apply(self, work: Work) -> Iterable[Edit]:
        """The layers in 4 bits, and those in 8."""
        from zafu.compress.runtime.mix import to_mixed

        return tuple(to_mixed(self, work))
