"""The order of samples: a function of seed and position, so that resuming needs one integer.

Each epoch is a permutation of all samples by a Feistel network (Luby & Rackoff, 1988) over the
next power of two, with cycle walking (Black & Rogaway, 2002) back into the range. Nothing is
stored: any position of any epoch is computed where it is asked for, on any rank.
"""

from __future__ import annotations

from typing import final

import numpy as np

from zafu.batch import Portion
from zafu.hashing import key, mix
from zafu.loading.contract import Request
from zafu.loading.mixture import Mixture

BLOCK = 1 << 14  # positions computed at once: a batch is then a slice


def permuted(index: np.ndarray, n: int, keys: np.ndarray) -> np.ndarray:
    """Where each index < n goes in the permutation of range(n) by its key; all `(k,)` uint64."""
    bits = max(1, (n - 1).bit_length())
    moved = _feistel(index, bits, keys)
    while (outside := np.flatnonzero(moved >= n)).size:  # walk on along the cycle, back below n
        moved[outside] = _feistel(moved[outside], bits, keys[outside])
    return moved


@final
class Order:
    """The endless stream of sample ids: epoch after epoch, each sample exactly once an epoch.

    Position p lies in epoch `p // n`. A batch may straddle two epochs. With portions a fixed cycle
    says which of them a position takes its sample from, and each has epochs of its own.
    """

    def __init__(self, n: int, seed: int, portions: tuple[Portion, ...] = ()) -> None:
        if n < 1:
            raise ValueError(f"expected at least 1 sample to order, found {n}")
        sizes = np.array([p.samples for p in portions], np.int64)
        if portions and (sizes.sum() != n or sizes.min() < 1):
            raise ValueError(f"expected portions of {n} samples, found {sizes.tolist()}")
        self._n, self._key = n, key(seed)
        self._sizes, self._starts = sizes, np.cumsum(sizes) - sizes
        self._mixture = Mixture(portions) if portions else None
        self._keys = np.concatenate([key(seed, 1 + i) for i in range(len(portions))] or [self._key])
        empty = np.empty(0, np.int64)
        self._block, self._begin = Request(empty, empty), 0  # the block that was last computed

    def positions(self, start: int, count: int) -> np.ndarray:
        """The sample ids at positions start <= p < start + count, `(count,)` int64."""
        return self.seen(start, count).ids

    def epochs_of(self, start: int, count: int) -> np.ndarray:
        """How often each of the samples at these positions came before, `(count,)` int64."""
        return self.seen(start, count).epochs

    def seen(self, start: int, count: int) -> Request:
        """Both of it."""
        offset = start - self._begin
        if offset < 0 or offset + count > len(self._block[0]):
            return self._beyond(start, count)
        ids, epochs = self._block
        end = offset + count
        return Request(ids[offset:end], epochs[offset:end])

    def _beyond(self, start: int, count: int) -> Request:
        """The same outside of the block that was last computed; the last one needed is kept."""
        blocks = range(start // BLOCK, (start + max(count, 1) - 1) // BLOCK + 1)
        computed = [self._computed(block) for block in blocks]
        self._block, self._begin = computed[-1], blocks[-1] * BLOCK
        begin = start - blocks[0] * BLOCK
        arrays = zip(*computed, strict=True)
        joined = (a[0] if len(a) == 1 else np.concatenate(a) for a in arrays)
        return Request(*(array[begin : begin + count] for array in joined))

    def _computed(self, block: int) -> Request:
        if self._mixture is None:
            position = np.arange(block * BLOCK, (block + 1) * BLOCK, dtype=np.uint64)
            epoch, index = np.divmod(position, np.uint64(self._n))
            ids = permuted(index, self._n, mix(self._key ^ epoch)).astype(np.int64)
        else:
            epoch, ids = self._mixed(np.arange(block * BLOCK, (block + 1) * BLOCK), self._mixture)
        found = Request(ids, epoch.astype(np.int64))
        for array in found:
            array.flags.writeable = False  # slices of it are handed out
        return found

    def _mixed(self, position: np.ndarray, mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
        """The epoch and the id at each position, where portions take turns."""
        portion, counter = mixture.at(position)
        epoch, index = np.divmod(counter, self._sizes[portion])
        ids = np.empty(len(position), np.int64)
        for number in np.unique(portion).tolist():
            here = np.flatnonzero(portion == number)
            keys = mix(self._keys[number] ^ epoch[here].astype(np.uint64))
            size = int(self._sizes[number])
            moved = permuted(index[here].astype(np.uint64), size, keys)
            ids[here] = moved.astype(np.int64) + self._starts[number]
        return epoch, ids


def share(start: int, count: int, *, rank: int, world: int) -> tuple[int, int]:
    """Start and count of what one rank of `world` reads of the global batch at start.

    The ranks' parts follow each other and differ by at most one sample, so the stream is the same
    for any number of ranks.
    """
    if not 0 <= rank < world:
        raise ValueError(f"expected a rank of 0 to {world - 1}, found {rank}")
    begin, end = rank * count // world, (rank + 1) * count // world
    return start + begin, end - begin


def _feistel(x: np.ndarray, bits: int, keys: np.ndarray) -> np.ndarray:
    """A permutation of `bits`-bit numbers; the halves may differ by one bit and change places."""
    width, other = bits // 2, bits - bits // 2
    left, right = x >> np.uint64(other), x & _mask(other)
    # even, so that the halves end as wide as they began; few bits mix slowly
    rounds = 8 + 2 * max(0, 8 - bits)
    for number in range(rounds):
        sums = mix(keys + (right + np.uint64(number << 48)))
        left, right = right, left ^ (sums & _mask(width))
        width, other = other, width
    return (left << np.uint64(other)) | right


def _mask(bits: int) -> np.uint64:
    return np.uint64((1 << bits) - 1)
