"""Layers of low rank: a matrix as the product of two thin ones, a convolution as three or four.

Denton et al., 2014 (arXiv:1404.0736); Tucker-2 of convolutions: Kim et al., 2016
(arXiv:1511.06530); CP of them: Lebedev et al., 2014 (arXiv:1412.6553).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from zafu.nets.surgery import bias_of


class FactoredLinear(nn.Module):
    """`up(down(x))`, by way of `rank` numbers."""

    def __init__(self, inputs: int, outputs: int, rank: int, *, bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features, self.rank = inputs, outputs, rank
        self.down = nn.Linear(inputs, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """`(..., inputs)` to `(..., outputs)`."""
        return self.up(self.down(x))


class FactoredConv(nn.Module):
    """A 1x1 convolution down to fewer channels, a core as wide as the whole, and one up again."""

    def __init__(self, like: nn.Conv2d, read: int, written: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels = like.in_channels, like.out_channels
        self.ranks = (read, written)
        self.down = nn.Conv2d(like.in_channels, read, 1, bias=False)
        self.core = nn.Conv2d(
            read,
            written,
            like.kernel_size,  # pyright: ignore[reportArgumentType]
            stride=like.stride,  # pyright: ignore[reportArgumentType]
            padding=like.padding,  # pyright: ignore[reportArgumentType]
            dilation=like.dilation,  # pyright: ignore[reportArgumentType]
            bias=False,
        )
        self.up = nn.Conv2d(written, like.out_channels, 1, bias=bias_of(like) is not None)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, in_channels, height, width)` to `(batch, out_channels, height, width)`."""
        return self.up(self.core(self.down(x)))


class CPConv(nn.Module):
    """A 1x1 convolution, one of each channel along the height, one along the width, 1x1 again."""

    def __init__(self, like: nn.Conv2d, rank: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels = like.in_channels, like.out_channels
        self.ranks = (rank,)
        self.down = nn.Conv2d(like.in_channels, rank, 1, bias=False)
        self.tall = _along(like, rank, 0)
        self.wide = _along(like, rank, 1)
        self.up = nn.Conv2d(rank, like.out_channels, 1, bias=bias_of(like) is not None)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, in_channels, height, width)` to `(batch, out_channels, height, width)`."""
        return self.up(self.wide(self.tall(self.down(x))))


def _along(like: nn.Conv2d, rank: int, dim: int) -> nn.Conv2d:
    """A convolution of each channel in one dim, as the whole one is there."""

    def only(sizes: tuple[int, ...], other: int) -> tuple[int, int]:
        return (sizes[0], other) if dim == 0 else (other, sizes[1])

    padding = like.padding if isinstance(like.padding, str) else only(like.padding, 0)
    return nn.Conv2d(
        rank,
        rank,
        only(like.kernel_size, 1),
        stride=only(like.stride, 1),
        padding=padding,
        dilation=only(like.dilation, 1),
        groups=rank,
        bias=False,
    )


def linear(like: nn.Linear, rank: int) -> FactoredLinear:
    """A factored layer as large as another; its weights are undefined."""
    made = FactoredLinear(like.in_features, like.out_features, rank, bias=bias_of(like) is not None)
    return made.to(like.weight.device)


def conv(like: nn.Conv2d, read: int, written: int) -> FactoredConv:
    """A factored convolution as large as another; its weights are undefined."""
    return FactoredConv(like, read, written).to(like.weight.device)


def cp(like: nn.Conv2d, rank: int) -> CPConv:
    """Four convolutions in place of one; their weights are undefined."""
    return CPConv(like, rank).to(like.weight.device)


def blank(layer: nn.Module, ranks: Sequence[int]) -> nn.Module:
    """A factored layer of these ranks for a whole one; KeyError where it cannot be."""
    match layer, ranks:
        case nn.Linear(), (rank,):
            return linear(layer, rank)
        case nn.Conv2d(groups=1), (read, written):
            return conv(layer, read, written)
        case nn.Conv2d(groups=1), (rank,):
            return cp(layer, rank)
        case _:
            raise KeyError(f"no factors of ranks {tuple(ranks)} for {type(layer).__name__}")
