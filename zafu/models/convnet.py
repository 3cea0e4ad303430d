"""ConvNet: a residual convolutional net with GroupNorm. Sources: `zafu.nets.convnet`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from zafu.errors import Fault
from zafu.models.contract import Model, inputs_of
from zafu.models.heads import divisors
from zafu.signature import Pixels, Signature

if TYPE_CHECKING:
    from zafu.nets.convnet import ConvNet as Net


@final
class ConvNet(Model):
    """Learns pictures of any size from little data; each sample's answer is its own."""

    kind: Literal["convnet"] = "convnet"
    ranges: ClassVar[dict[str, str]] = {"dropout": "0:0.6", "drop_path": "0:0.3"}
    takes: ClassVar[frozenset[str]] = frozenset({"pixels"})
    width: int = Field(default=32, ge=1)
    """Channels of the first stage, >= 1; each later stage has twice as many."""
    stages: int = Field(default=3, ge=1, le=8)
    """Stages, 1 to 8; those after the first halve the picture while it has 4 pixels a side."""
    blocks: int = Field(default=2, ge=1)
    """Residual blocks in each stage, >= 1."""
    groups: int = Field(default=8, ge=1)
    """Groups of channels that are normalized together, >= 1; a divisor of `width`."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the averaged features set to 0 before the head in training, 0 <= p < 1."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Share of samples for which the last block's branch is skipped in training, 0 <= p < 1."""

    def check(self) -> Iterable[Fault]:
        """Groups must share the channels evenly."""
        if self.width % self.groups:
            known = ", ".join(str(n) for n in divisors(self.width))
            yield Fault("groups", f"a divisor of width ({known})", str(self.groups))

    def build(self, signature: Signature) -> Net:
        """The module `(batch, channels, height, width) -> (batch, outputs)`."""
        from zafu.nets.convnet import ConvNet as Net
        from zafu.nets.convnet import Shape

        inputs = inputs_of(signature, Pixels)
        return Net(
            Shape(
                channels=inputs.channels,
                picture=(inputs.height, inputs.width),
                width=self.width,
                stages=self.stages,
                blocks=self.blocks,
                groups=self.groups,
                outputs=signature.outputs,
                dropout=self.dropout,
                drop_path=self.drop_path,
            )
        )

    def widths(self) -> dict[str, int]:
        """None: convolutions have no plan."""
        return {}

    def depth(self) -> int:
        """The residual blocks of all stages."""
        return self.stages * self.blocks

    def parameter_count(self, signature: Signature) -> int:
        """The number of parameters, in closed form: the picture's size does not matter."""
        inputs = inputs_of(signature, Pixels)
        total, before = 9 * inputs.channels * self.width, self.width
        for stage in range(self.stages):
            after = self.width * 2**stage
            shortcut = before * after if stage else 0
            total += 2 * before + 9 * before * after + 2 * after + 9 * after**2 + shortcut
            total += (self.blocks - 1) * (4 * after + 18 * after**2)
            before = after
        return total + 2 * before + (before + 1) * signature.outputs
