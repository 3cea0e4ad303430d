"""Hashing: numbers that look random, yet follow from content and key alone on any machine.

The mixing function is the finalizer of SplitMix64 (Steele, Lea & Flood, 2014, "Fast splittable
pseudorandom number generators"), over whole arrays. Content is hashed by BLAKE2b.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

_ADD, _FIRST, _SECOND = (
    np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def mix(x: np.ndarray) -> np.ndarray:
    """A permutation of the 64-bit numbers that leaves no visible pattern; the array's shape."""
    x = x + _ADD
    x ^= x >> np.uint64(30)
    x *= _FIRST
    x ^= x >> np.uint64(27)
    x *= _SECOND
    x ^= x >> np.uint64(31)
    return x


def key(*numbers: int) -> np.ndarray:
    """One 64-bit key, `(1,)`, that depends on each number and on their order."""
    state = np.zeros(1, np.uint64)
    for number in numbers:
        state = mix(state ^ np.array([number % 2**64], np.uint64))
    return state


def fingerprint(content: bytes) -> int:
    """64 bits of BLAKE2b: equal content, equal number."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def fingerprints(contents: Iterable[bytes]) -> np.ndarray:
    """The fingerprint of each, `(n,)` uint64."""
    return np.fromiter(map(fingerprint, contents), np.uint64)
