"""Colors changed alike at each pixel: four numbers for each picture stand for a 3x4 matrix.

In YIQ (the NTSC's luma Y and chroma I, Q, a linear change of RGB) brightness, contrast, saturation
and hue all have one form: Y' = luma * Y + offset, and the vector (I, Q) is scaled and turned by
(cosine, sine). The form is closed, so any number of such steps is one matrix; only at the end are
values cut to what a pixel can hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Entry = float | Tensor  # a number for all pictures, or (batch,) float64

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's "L"
_I = (0.5959, -0.2746, -0.3213)
_Q = (0.2115, -0.5227, 0.3112)


def _quarter_turn() -> Tensor:
    """The 3x3 float64 matrix that turns chroma by 90 degrees and leaves no luma."""
    to_yiq = torch.tensor([LUMA, _I, _Q], dtype=torch.float64)
    turn = torch.tensor([[0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    return torch.linalg.inv(to_yiq) @ turn @ to_yiq


QUARTER_TURN = _quarter_turn()


class Tint(NamedTuple):
    """Y to luma * Y + offset; (I, Q) scaled and turned by (cosine, sine)."""

    luma: Entry = 1.0
    offset: Entry = 0.0  # in the units of a pixel
    cosine: Entry = 1.0
    sine: Entry = 0.0

    def scaled(self, factor: Entry, offset: Entry) -> Tint:
        """This, then all channels times `factor` plus `offset`."""
        return Tint(
            self.luma * factor,
            self.offset * factor + offset,
            self.cosine * factor,
            self.sine * factor,
        )

    def saturated(self, factor: Entry) -> Tint:
        """This, then chroma times `factor`."""
        return self._replace(cosine=self.cosine * factor, sine=self.sine * factor)

    def turned(self, cosine: Tensor, sine: Tensor) -> Tint:
        """This, then chroma turned by an angle."""
        return self._replace(
            cosine=self.cosine * cosine - self.sine * sine,
            sine=self.sine * cosine + self.cosine * sine,
        )

    def rows(self, batch: int) -> Tensor:
        """Luma, offset, cosine, sine as `(4, batch)` float64 on the CPU."""
        entries = [
            entry.expand(batch)
            if isinstance(entry, Tensor)
            else torch.full((batch,), entry, dtype=torch.float64)
            for entry in self
        ]
        return torch.stack(entries)


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
    if pictures.dtype == torch.uint8 and pictures.device.type == "cpu":
        total = torch.from_numpy(pictures.numpy().sum((-1, -2)).astype("float64"))
    elif pictures.requires_grad:
        total = pictures.double().sum((-1, -2)).cpu()
    else:
        total = ((pictures.double() * 65536).round().sum((-1, -2)) / 65536).cpu()
    return total


def luma_of_sums(sums: Tensor, pictures: Tensor) -> Tensor:
    """The mean luma `(batch,)` from the sums of the channels of pictures."""
    mean = sums / (pictures.shape[-1] * pictures.shape[-2])  # (batch, channels)
    return mean[:, 0] if pictures.shape[1] == 1 else _weighted(mean, LUMA)[:, 0]


def _weighted(pictures: Tensor, weights: Sequence[float]) -> Tensor:
    """The sum over channels, which stand in the second dimension and stay there as one."""
    first, second, third = (pictures.narrow(1, i, 1) * weights[i] for i in range(3))
    return first.add_(second).add_(third)
