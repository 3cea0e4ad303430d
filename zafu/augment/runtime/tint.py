"""Colors changed alike at each pixel: four numbers for each picture stand for a 3x4 matrix.

In YIQ (the NTSC's luma Y and chroma I, Q, a linear change of RGB) brightness, contrast, saturation
and hue all have one form: Y' = luma * Y + offset, and the vector (I, Q) is scaled and turned by
(cosine, sine). The form is closed, so any number of such steps is one matrix; only at the end are
values cut to what a pixel can hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zafu.augment.runtime.affine import in_cache

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's "L"
_I = (0.5959, -0.2746, -0.3213)
_Q = (0.2115, -0.5227, 0.3112)


def _quarter_turn() -> Tensor:
    """The 3x3 float64 matrix that turns chroma by 90 degrees and leaves no luma."""
    to_yiq = torch.tensor([LUMA, _I, _Q], dtype=torch.float64)
    turn = torch.tensor([[0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    return torch.linalg.inv(to_yiq) @ turn @ to_yiq


QUARTER_TURN = _quarter_turn()
_UNCHANGED = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)[:, None]
_OFFSET = torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64)[:, None]
_CHROMA = torch.tensor([False, False, True, True])[:, None]


class Tint:
    """Y to luma * Y + offset; (I, Q) scaled and turned by (cosine, sine)."""

    def __init__(self, rows: Tensor = _UNCHANGED) -> None:
        """Luma, offset (in the units of a pixel), cosine, sine: `(4, 1 or batch)` float64."""
        self.rows = rows

    @property
    def luma(self) -> Tensor:
        """What luma is multiplied with, `(batch,)`."""
        return self.rows[0]

    @property
    def offset(self) -> Tensor:
        """What is added to luma then, `(batch,)`."""
        return self.rows[1]

    def scaled(self, factor: Tensor, offset: Tensor | None = None) -> Tint:
        """This, then all channels times `factor` plus `offset`, `(batch,)` each."""
        rows = self.rows * factor
        return Tint(rows if offset is None else rows + _OFFSET * offset)

    def saturated(self, factor: Tensor) -> Tint:
        """This, then chroma times `factor` `(batch,)`."""
        return Tint(torch.where(_CHROMA, self.rows * factor, self.rows))

    def turned(self, cosine: Tensor, sine: Tensor) -> Tint:
        """This, then chroma turned by an angle, `(batch,)` each."""
        across, up = self.rows[2], self.rows[3]
        turned = torch.stack([across * cosine - up * sine, up * cosine + across * sine])
        return Tint(torch.cat([self.rows[:2].expand(2, turned.shape[1]), turned]))


def matrices(rows: Tensor) -> Tensor:
    """The `(batch, 3, 4)` matrices of tints `(4, batch)`: what is added stands last."""
    luma, offset, cosine, sine = rows[:, :, None, None]
    gray = torch.tensor(LUMA, dtype=rows.dtype).expand(3, 3)
    turn = QUARTER_TURN.to(rows.dtype)
    colors = cosine * torch.eye(3, dtype=rows.dtype) + (luma - cosine) * gray + sine * turn
    return torch.cat([colors, offset.expand(-1, 3, 1)], 2)


def colored(pictures: Tensor, rows: Tensor, *, turns: bool) -> Tensor:
    """Floating pictures of 1 or 3 channels under tints `(4, batch)`; not yet cut to their range.

    Only single operations, since a matrix product may round by the batch's size. One channel is
    luma alone.
    """
    numbers = rows.to(pictures)[:, :, None, None, None]
    luma, offset, cosine, sine = numbers.unbind()  # (batch, 1, 1, 1) each
    if pictures.shape[1] == 1:
        return (pictures * luma).add_(offset)
    gray = (_weighted(pictures, LUMA) * (luma - cosine)).add_(offset)
    found = (pictures * cosine).add_(gray)
    if turns:
        turned = [_weighted(pictures, line) for line in QUARTER_TURN.tolist()]
        found.add_(torch.cat(turned, 1) * sine)
    return found


def mean_luma(pictures: Tensor) -> Tensor:
    """The mean luma of each picture, `(batch,)` float64 on the CPU."""
    return luma_of_sums(channel_sums(pictures), pictures)


def channel_sums(pictures: Tensor) -> Tensor:
    """The sum of each channel, `(batch, channels)` float64 on the CPU.

    The same in any batch: bytes are summed exactly, and so are floats, as multiples of 2^-16
    unless a gradient is asked for.
    """
    side = pictures.shape[-1] * pictures.shape[-2]
    if pictures.dtype == torch.uint8 and side * 255 < 2**24:  # whole numbers that float32 has
        parts = [pictures[some].float().sum((-1, -2)) for some in in_cache(pictures)]
        total = (parts[0] if len(parts) == 1 else torch.cat(parts)).double().cpu()
    elif pictures.requires_grad:
        total = pictures.double().sum((-1, -2)).cpu()
    else:
        total = ((pictures.double() * 65536).round().sum((-1, -2)) / 65536).cpu()
    return total


def luma_of_sums(sums: Tensor, pictures: Tensor) -> Tensor:
    """The mean luma `(batch,)` from the sums of the channels of pictures."""
    means = (sums / (pictures.shape[-1] * pictures.shape[-2])).unbind(1)  # (batch,) each
    if len(means) == 1:
        return means[0]
    return means[0] * LUMA[0] + means[1] * LUMA[1] + means[2] * LUMA[2]


def _weighted(pictures: Tensor, weights: Sequence[float]) -> Tensor:
    """The sum over channels, which stand in the second dimension and stay there as one."""
    first, second, third = (pictures.narrow(1, i, 1) * weights[i] for i in range(3))
    return first.add_(second).add_(third)
