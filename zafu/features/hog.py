"""HOG: histograms of oriented gradients, which say what edges there are, cell by cell.

Dalal & Triggs, 2005, "Histograms of oriented gradients for human detection": the gradient
[-1, 0, 1] of the channel where it is largest, votes interpolated between the nearest orientations
and cells, overlapping blocks under a Gaussian window, L2-Hys. Where the paper is silent: the border
repeats outward, cells begin at the top left, and pixels that fill no whole block are left out.
"""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field

from zafu.features import pictures as shapes
from zafu.features.contract import PictureFeature, State

_FLOATS = 1 << 23  # of an intermediate array: bounds memory
_NOTHING = 1.0  # length of a histogram, in grey levels, below which it fades to 0


@final
class HOG(PictureFeature):
    """Normalized histograms of gradients, block by block."""

    kind: Literal["hog"] = "hog"
    cell: int = Field(default=8, ge=2, le=256)
    """Height and width of a cell in pixels, 2 to 256; blocks stand a cell apart."""
    block: int = Field(default=2, ge=1, le=8)
    """Height and width of a block in cells, 1 to 8."""
    orientations: int = Field(default=9, ge=2, le=36)
    """Bins of a histogram, 2 to 36."""
    signed: bool = False
    """Whether dark to bright differs from bright to dark: 360 degrees, not 180."""
    clip: float = Field(default=0.2, gt=0, le=1)
    """Largest share that a bin has in a block's length before it is normalized again, to 1."""
    window: float = Field(default=0.5, gt=0, le=1000)
    """Standard deviation of the Gaussian window in widths of a block, above 0."""

    def fit(self, pictures: np.ndarray, *, seed: int) -> State:
        """The shape of a picture; raises DataError if it holds no block."""
        _, _, height, width = pictures.shape
        side = self.cell * self.block
        if min(height, width) < side:
            found = f"{height} x {width}"
            shapes.refuse(f"pictures of {side} x {side} or more (cell * block)", found)
        return shapes.state(pictures)

    def apply(self, state: State, pictures: np.ndarray) -> np.ndarray:
        """Block by block from the top left: its cells by rows, each cell's orientations."""
        _, height, width = shapes.expect(state, pictures)
        across = [(size // self.cell - self.block + 1) for size in (height, width)]
        numbers = self.orientations * self.block**2
        out = np.empty((len(pictures), across[0] * across[1] * numbers), np.float32)
        some = max(1, _FLOATS // (height * width * self.orientations * self.block))
        for start in range(0, len(pictures), some):
            votes = self._votes(pictures[start : start + some])
            out[start : start + some] = self._blocks(votes).reshape(-1, out.shape[1])
        return out

    def _votes(self, pictures: np.ndarray) -> np.ndarray:
        """The size of each pixel's gradient, shared by two orientations, `(n, h, w, bins)`."""
        down, right = gradients(pictures)
        span = 2 * np.pi if self.signed else np.pi
        place = np.arctan2(down, right) % span * (self.orientations / span) - 0.5
        low = np.floor(place)
        size, share = np.hypot(down, right), place - low
        first = low.astype(np.int64) % self.orientations
        votes = np.zeros((*size.shape, self.orientations), np.float32)
        np.put_along_axis(votes, first[..., None], (size * (1 - share))[..., None], -1)
        second = (first + 1) % self.orientations
        np.put_along_axis(votes, second[..., None], (size * share)[..., None], -1)
        return votes

    def _blocks(self, votes: np.ndarray) -> np.ndarray:
        """The histograms `(n, down, across, cells, cells, bins)` of votes `(n, h, w, bins)`."""
        weights = cell_weights(self.cell, self.block, self.window)
        side = weights.shape[1]
        rows = sliding_window_view(votes, side, 1)[:, :: self.cell]  # (n, down, w, bins, side)
        cells = np.einsum("nywbp,ip->nyiwb", rows, weights)
        columns = sliding_window_view(cells, side, 3)[:, :, :, :: self.cell]
        found = np.einsum("nyixbp,jp->nyxijb", columns, weights)
        length = np.sqrt(np.square(found).sum((3, 4, 5), keepdims=True) + _NOTHING**2)
        found = np.minimum(found / length, self.clip)
        length = np.sqrt(np.square(found).sum((3, 4, 5), keepdims=True))
        return found / np.where(length > 0, length, 1)


def gradients(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Downward and rightward differences `(n, h, w)` float32, of the channel where most changes."""
    padded = np.pad(pictures, ((0, 0), (0, 0), (1, 1), (1, 1)), "edge").astype(np.float32)
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    right = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    if pictures.shape[1] == 1:
        return down[:, 0], right[:, 0]
    most = (down * down + right * right).argmax(1)[:, None]
    return np.take_along_axis(down, most, 1)[:, 0], np.take_along_axis(right, most, 1)[:, 0]


def cell_weights(cell: int, block: int, window: float) -> np.ndarray:
    """How much each pixel of a block's side counts for each of its cells, `(block, side)`.

    A pixel between two centers of cells counts for both; the Gaussian of two dimensions is the
    product of two of one.
    """
    side = cell * block
    pixels = np.arange(side) + 0.5
    centers = (np.arange(block) + 0.5) * cell
    tents = np.maximum(0, 1 - np.abs(pixels - centers[:, None]) / cell)
    gauss = np.exp(-np.square((pixels - side / 2) / (window * side)) / 2)
    return (tents * gauss).astype(np.float32)
