"""A residual convolutional net for pictures from 1x1 to photographs.

He et al., 2016 (arXiv:1603.05027): norm and activation before each convolution. GroupNorm (Wu & He,
2018, arXiv:1803.08494) takes the place of BatchNorm, so that a sample's answer does not depend on
its batch. Weights start as in He et al., 2015 (arXiv:1502.01852).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from zafu.nets.depth import Parts, drop_path, drop_path_rates, run
from zafu.nets.units import Slice, Units, units

HALVED_FROM = 4  # a stage halves pictures whose shorter side has at least so many pixels


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a residual net; stage `i` has `width * 2**i` channels."""

    channels: int
    picture: tuple[int, int]  # height and width in pixels
    width: int  # divisible by `groups`
    stages: int
    blocks: int  # in each stage
    groups: int
    outputs: int
    dropout: float = 0.0
    drop_path: float = 0.0


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where sizes change."""

    def __init__(self, channels: tuple[int, int], *, stride: int, groups: int, rate: float) -> None:
        super().__init__()
        before, after = channels
        self.norm_1 = nn.GroupNorm(groups, before)
        self.conv_1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm_2 = nn.GroupNorm(groups, after)
        self.conv_2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        same = before == after and stride == 1
        self.shortcut = None if same else nn.Conv2d(before, after, 1, stride=stride, bias=False)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, before, height, width)` to `(batch, after, height / stride, width / stride)`."""
        ready = functional.relu(self.norm_1(x))
        branch = self.conv_2(functional.relu(self.norm_2(self.conv_1(ready))))
        kept = x if self.shortcut is None else self.shortcut(ready)
        return kept + drop_path(branch, self.rate, training=self.training)


class ConvNet(nn.Module):
    """A picture to the logits of its classes."""

    recompute: bool = False  # True: blocks run again in backward, to store fewer activations

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.stem = nn.Conv2d(shape.channels, shape.width, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(_blocks(shape))
        last = shape.width * 2 ** (shape.stages - 1)
        self.norm = nn.GroupNorm(shape.groups, last)
        self.head = nn.Linear(last, shape.outputs)
        self.initialize()

    def initialize(self) -> None:
        """Draw all weights anew, in place: Kaiming normal by fan-out; the head by fan-in."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.GroupNorm):
                module.reset_parameters()

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits `(batch, outputs)` for pixels `(batch, channels, height, width)`."""
        return self.leave(self.along(self.enter(pixels)))

    def enter(self, pixels: Tensor) -> Tensor:
        """The stream `(batch, width, height, width of the picture)` before the first block."""
        return self.stem(pixels)

    def along(self, x: Tensor) -> Tensor:
        """The stream after the blocks that are here, each of which may halve the picture."""
        for block in self.blocks:
            x = run(block, x, recompute=self.recompute)
        return x

    def leave(self, x: Tensor) -> Tensor:
        """Logits `(batch, outputs)` from the stream after the last block."""
        x = functional.relu(self.norm(x)).mean((2, 3))  # (batch, channels of the last stage)
        return self.head(functional.dropout(x, self.shape.dropout, self.training))

    def units(self) -> list[Units]:
        """The channels inside of each block; then those of each stage's stream."""
        groups, found = self.shape.groups, list[Units]()
        for index in range(len(self.blocks)):
            at = f"blocks.{index}"
            writers = [Slice(f"{at}.conv_1.weight", 0), *_norm(f"{at}.norm_2")]
            readers = [Slice(f"{at}.conv_2.weight", 1)]
            found.append(units(at, "channels", writers, readers, self, groups=groups))
        return found + self._streams()

    def _streams(self) -> list[Units]:
        found, name = list[Units](), "stem"
        writers, readers = [Slice("stem.weight", 0)], list[Slice]()
        for index, block in enumerate(cast("Iterable[Block]", self.blocks)):
            at = f"blocks.{index}"
            writers += _norm(f"{at}.norm_1")
            readers.append(Slice(f"{at}.conv_1.weight", 1))
            if block.shortcut is not None:  # the stream before ends here
                readers.append(Slice(f"{at}.shortcut.weight", 1))
                groups = self.shape.groups
                found.append(units(name, "stream", writers, readers, self, groups=groups))
                name, writers, readers = f"{at}.shortcut", [Slice(f"{at}.shortcut.weight", 0)], []
            writers.append(Slice(f"{at}.conv_2.weight", 0))
        writers += _norm("norm")
        readers.append(Slice("head.weight", 1))
        found.append(units(name, "stream", writers, readers, self, groups=self.shape.groups))
        return found

    def parts(self) -> Parts:
        """Where the net may be cut."""
        return Parts("blocks", ("stem",), ("norm", "head"))


def strides(picture: tuple[int, int], stages: int) -> list[int]:
    """The stride with which each stage begins: 2 after the first, while the picture is large."""
    side, found = min(picture), [1]
    for _ in range(stages - 1):
        stride = 2 if side >= HALVED_FROM else 1
        side = -(-side // stride)
        found.append(stride)
    return found


def _norm(name: str) -> list[Slice]:
    return [Slice(f"{name}.weight", 0), Slice(f"{name}.bias", 0)]


def _blocks(shape: Shape) -> list[Block]:
    rates = iter(drop_path_rates(shape.drop_path, shape.stages * shape.blocks))
    blocks: list[Block] = []
    before = shape.width
    for stage, stride in enumerate(strides(shape.picture, shape.stages)):
        after = shape.width * 2**stage
        for index in range(shape.blocks):
            first = stride if index == 0 else 1
            channels = (before, after)
            blocks.append(Block(channels, stride=first, groups=shape.groups, rate=next(rates)))
            before = after
    return blocks
