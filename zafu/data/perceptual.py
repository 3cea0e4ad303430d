"""Perceptual hashes: 64 bits of a picture that a new size, encoding or brightness hardly change.

The pHash of Zauner, 2010, "Implementation and benchmarking of perceptual image hash functions":
which of the 8 x 8 lowest frequencies of the picture in gray (without the constant ones) lie above
their median. All arithmetic is on whole numbers (areas averaged exactly, a cosine transform rounded
to 10 bits), so that the bits are the same on every machine.

Pairs are found as by Norouzi, Punjani & Fleet, 2012 (arXiv:1307.2982): of four parts of 16 bits,
one differs in at most a quarter of the distance.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from zafu.spec import Spec

_SIDE = 32  # the picture is averaged to so many squares a side
_FLAT = np.uint64(0)  # the hash of a picture without structure, which is near to nothing
_PARTS, _BITS = 4, 16
_GRAY = np.array([299.0, 587.0, 114.0])  # ITU-R BT.601
_COSINES = np.rint(
    2**10 * np.cos(np.pi / _SIDE * np.outer(np.arange(1, 9), np.arange(_SIDE) + 0.5))
).astype(np.int64)  # (frequency, place)


class NearPictures(Spec):
    """Pictures that look alike: in another size, encoding or brightness."""

    distance: int = Field(default=6, ge=0, le=16)
    """Most of the 64 bits of the perceptual hash in which they differ, 0 to 16."""

    def pairs(self, hashes: np.ndarray) -> np.ndarray:
        """The near pairs `(k, 2)` of hashes `(n,)`, as `near` says."""
        return near(hashes, self.distance)


class PictureDuplicates(Spec):
    """Which repeated pictures are removed before they are dealt to splits."""

    exact: bool = True
    """Whether exact copies of an earlier picture go."""
    near: NearPictures | None = None
    """Pictures that look like an earlier one go too; null: they stay."""


def phash(pictures: np.ndarray) -> np.ndarray:
    """Hashes `(n,)` uint64 of pictures of one size, gray `(n, h, w)` or `(n, h, w, 3)` uint8.

    A side is below 65,536.
    """
    n, height, width = pictures.shape[:3]
    # Sums of whole numbers below 2^24 are exact in float32, those below 2^53 in float64.
    rows = _areas(height) @ pictures.reshape(n, height, -1).astype(np.float32)
    rows = rows.reshape(n, _SIDE, width, -1).astype(np.float64)
    gray = rows @ _GRAY if pictures.ndim == 4 else rows[..., 0] * _GRAY.sum()
    sums = (gray @ _areas(width).T.astype(np.float64)).astype(np.int64)
    squares = sums * 2**10 // (height * width)  # (n, 32, 32), below 2^28
    waves = (_COSINES @ squares @ _COSINES.T).reshape(n, 64)
    middle = np.sort(waves, axis=1)[:, 31:33].sum(axis=1, keepdims=True)  # twice the median
    bits = 2 * waves > middle
    return np.packbits(bits, axis=1, bitorder="little").view("<u8").ravel().astype(np.uint64)


def near(hashes: np.ndarray, distance: int) -> np.ndarray:
    """Pairs `(k, 2)` int64, the earlier first, of hashes `(n,)` that differ in few enough bits.

    Every pair of different hashes within `distance` is found. Where several samples have one hash,
    its first stands for it: each sample is paired with the first of its own and of every near hash.
    """
    different, first, label = np.unique(hashes, return_index=True, return_inverse=True)
    close = [pair for pair in _close(different, distance) if len(pair)]
    close.append(np.repeat(np.arange(len(different))[:, None], 2, axis=1))
    both = np.concatenate(close)
    both = np.unique(np.concatenate([both, both[:, ::-1]]), axis=0)
    both = both[(different[both] != _FLAT).all(axis=1)]
    members = np.argsort(label, kind="stable")
    counts = np.bincount(label, minlength=len(different))
    at, other = _expanded((np.cumsum(counts) - counts)[both[:, 1]], counts[both[:, 1]])
    pairs = np.stack([first[both[at, 0]], members[other]], axis=1)
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(pairs, axis=0)


def _areas(size: int) -> np.ndarray:
    """How much of each pixel lies in each of 32 equal lengths, `(32, size)`, in 32nds."""
    pixels, lengths = np.arange(size) * _SIDE, np.arange(_SIDE)[:, None] * size
    ends = np.minimum(pixels + _SIDE, lengths + size)
    return np.maximum(ends - np.maximum(pixels, lengths), 0).astype(np.float32)


def _close(hashes: np.ndarray, distance: int) -> Iterator[np.ndarray]:
    """Pairs of indices into different hashes that are within the distance, some of them twice."""
    radius, rest = divmod(distance, _PARTS)
    for part in range(_PARTS):
        # If the first rest + 1 parts differ in more than `radius`, the others in `radius` or more,
        # then all of them do in more than the distance.
        reach = radius if part <= rest else radius - 1
        values = (hashes >> np.uint64(_BITS * part)).astype(np.uint16)
        order = np.argsort(values, kind="stable")
        starts = np.searchsorted(values[order], np.arange(2**_BITS + 1))
        for flip in _flips(reach):
            asked = values ^ flip
            some = np.flatnonzero(values <= asked)  # each pair of values once
            begin = starts[asked[some]]
            at, other = _expanded(begin, starts[asked[some].astype(np.int64) + 1] - begin)
            left, right = some[at], order[other]
            apart = np.bitwise_count(hashes[left] ^ hashes[right])
            good = (apart <= distance) & (left != right)
            yield np.stack([left[good], right[good]], axis=1)


def _flips(reach: int) -> np.ndarray:
    """The numbers of 16 bits of which at most `reach` are set; none for a negative reach."""
    numbers = np.arange(2**_BITS, dtype=np.uint16)
    return numbers[np.bitwise_count(numbers).astype(np.int64) <= reach]


def _expanded(begins: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For ranges that begin there and are so long: the range's index, and each number in it."""
    at = np.repeat(np.arange(len(begins)), counts)
    within = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
    return at, begins[at] + within
