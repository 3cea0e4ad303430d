"""The order of samples: a function of seed and position, so that resuming needs one integer.

Each epoch is a permutation of all samples by a Feistel network (Luby & Rackoff, 1988) over the
next power of two, with cycle walking (Black & Rogaway, 2002) back into the range. Nothing is
stored: any position of any epoch is computed where it is asked for, on any rank.
"""

from __future__ import annotations

from typing import final

import numpy as np

from zafu.hashing import key, mix

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

    Position p lies in epoch `p // n`. A batch may straddle two epochs. Rank r of w reads positions
    `start + r * count ... ` of the global batch, so the stream is the same for any number of ranks.
    """

    def __init__(self, n: int, seed: int) -> None:
        if n < 1:
            raise ValueError(f"expected at least 1 sample to order, found {n}")
        self._n, self._key = n, key(seed)
        self._block, self._begin = np.empty(0, np.int64), 0  # the block that was last computed

    def positions(self, start: int, count: int) -> np.ndarray:
        """The sample ids at positions start <= p < start + count, `(count,)` int64."""
        offset = start - self._begin
        if offset >= 0 and offset + count <= len(self._block):
            return self._block[offset : offset + count]
        blocks = range(start // BLOCK, (start + max(count, 1) - 1) // BLOCK + 1)
        computed = [self._computed(block) for block in blocks]
        self._block, self._begin = computed[-1], blocks[-1] * BLOCK
        ids = computed[0] if len(computed) == 1 else np.concatenate(computed)
        offset = start - blocks[0] * BLOCK
        return ids[offset : offset + count]

    def _computed(self, block: int) -> np.ndarray:
        position = np.arange(block * BLOCK, (block + 1) * BLOCK, dtype=np.uint64)
        epoch, index = np.divmod(position, np.uint64(self._n))
        ids = permuted(index, self._n, mix(self._key ^ epoch)).astype(np.int64)
        ids.flags.writeable = False  # slices of it are handed out
        return ids


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
