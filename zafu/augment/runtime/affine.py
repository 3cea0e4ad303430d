"""Affine maps of the plane, one for each picture, and pictures seen through them.

Coordinates are pixels from the picture's center, x to the right and y down. A map takes places in
the result to places in the picture, so the map of a step is applied before those of earlier steps.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from zafu.augment.contract import Fill

Entry = float | Tensor  # a number for all pictures, or (batch,) float64
_CACHED = 1 << 18  # numbers of pictures worked on at once on a CPU: a cache of 1 MiB


class Size(NamedTuple):
    """The shape of a picture."""

    channels: int
    height: int
    width: int


class Affine(NamedTuple):
    """Places (x, y) to (a x + b y + left, c x + d y + top), in pixels from the center."""

    a: Entry = 1.0
    b: Entry = 0.0
    left: Entry = 0.0
    c: Entry = 0.0
    d: Entry = 1.0
    top: Entry = 0.0

    def after(self, first: Affine) -> Affine:
        """This map of what `first` gives."""
        return Affine(
            _sum(_product(self.a, first.a), _product(self.b, first.c)),
            _sum(_product(self.a, first.b), _product(self.b, first.d)),
            _sum(_sum(_product(self.a, first.left), _product(self.b, first.top)), self.left),
            _sum(_product(self.c, first.a), _product(self.d, first.c)),
            _sum(_product(self.c, first.b), _product(self.d, first.d)),
            _sum(_sum(_product(self.c, first.left), _product(self.d, first.top)), self.top),
        )

    def rows(self, batch: int) -> Tensor:
        """The entries a, b, left, c, d, top as `(6, batch)` float64 on the CPU."""
        entries = [
            entry.expand(batch)
            if isinstance(entry, Tensor)
            else torch.full((batch,), entry, dtype=torch.float64)
            for entry in self
        ]
        return torch.stack(entries)


def warp(pictures: Tensor, rows: Tensor, fill: Fill) -> Tensor:
    """Floating pictures `(batch, channels, height, width)` seen through maps `(6, batch)`.

    Values between pixels are bilinear. The grid is made by single operations, not by
    `affine_grid`, whose matrix product is ten times as slow and may round by the batch's size.
    """
    batch, _, height, width = pictures.shape
    unit, x, y = _places_of(height, width, pictures.dtype, pictures.device)
    scaled = (rows * unit).to(pictures).view(2, 3, batch, 1)  # of x and of y
    across = (scaled[:, 0] * x)[:, :, None, :]  # (2, batch, 1, width)
    down = (scaled[:, 1] * y + scaled[:, 2])[:, :, :, None]  # (2, batch, height, 1)
    grid = (across + down).movedim(0, -1)  # x and y lie apart in memory, which is faster to read
    return functional.grid_sample(pictures, grid, padding_mode=fill, align_corners=False)


@lru_cache(maxsize=16)
def _places_of(
    height: int, width: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Factors from pixels to units `(6, 1)`, and each pixel's x and y from the center.

    1 is the edge of the outermost pixel, half a side from the center.
    """
    unit = torch.tensor([2 / width] * 3 + [2 / height] * 3, dtype=torch.float64)[:, None]
    x, y = (torch.arange(n, dtype=dtype, device=device) - (n - 1) / 2 for n in (width, height))
    return unit, x, y


def move(pictures: Tensor, rows: Tensor, fill: Fill) -> Tensor:
    """Pictures of any dtype seen through maps that flip and move by whole pixels: no new values."""
    batch, _, height, width = pictures.shape
    a, _, left, _, d, top = rows[:, :, None]  # (batch, 1) each
    columns, outside_x = _places(a, left, width, fill)
    lines, outside_y = _places(d, top, height, fill)
    columns, lines = columns.to(pictures.device), lines.to(pictures.device)
    sample = torch.arange(batch, device=pictures.device)[:, None, None]
    found = pictures.movedim(1, -1)[sample, lines[:, :, None], columns[:, None, :]].movedim(-1, 1)
    if fill == "zeros" and (outside_x.any() or outside_y.any()):
        outside = outside_y[:, None, :, None] | outside_x[:, None, None, :]
        found = found.masked_fill(outside.to(found.device), 0)
    return found.contiguous()


def _places(sign: Tensor, offset: Tensor, side: int, fill: Fill) -> tuple[Tensor, Tensor]:
    """Positions along a side `(batch, side)` within it, and which of them were outside."""
    middle = (side - 1) / 2
    at = (sign * (torch.arange(side) - middle) + offset + middle).round().long()
    outside = (at < 0) | (at >= side)
    if fill == "reflection":  # about the edges, with the period of two sides
        at = at.remainder(2 * side)
        at = torch.minimum(at, 2 * side - 1 - at)
    return at.clamp(0, side - 1), outside


def in_cache(pictures: Tensor) -> list[slice]:
    """The batch in pieces whose floats stay in a processor's cache; on a GPU it stays whole."""
    batch, numbers = len(pictures), pictures[:1].numel()
    if pictures.device.type != "cpu":
        return [slice(0, batch)]
    piece = max(1, _CACHED // max(1, numbers)) * torch.get_num_threads()
    return [slice(i, min(i + piece, batch)) for i in range(0, batch, piece)]


def _sum(p: Entry, q: Entry) -> Entry:
    if isinstance(p, float) and not p:
        return q
    return p if isinstance(q, float) and not q else p + q


def _product(p: Entry, q: Entry) -> Entry:
    for one, other in ((p, q), (q, p)):
        if isinstance(one, float) and one in (0.0, 1.0):
            return other if one else 0.0
    return p * q
